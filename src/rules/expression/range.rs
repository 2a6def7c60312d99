//! What values an expression can have, when it is known between which values its names can lie.

use super::{Operation, Operator, Program};

/// Between which values something can lie, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Always 0.
    pub const ZERO: Range = Range { low: 0.0, high: 0.0 };
    /// How often a rule may hit.
    pub const COUNT: Range = Range { low: 0.0, high: f64::INFINITY };
    const TRUTH: Range = Range { low: 0.0, high: 1.0 };

    /// Can it be nothing but 0?
    pub fn is_zero(&self) -> bool {
        *self == Range::ZERO
    }

    fn can_be_zero(self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    /// 0 or 1, as far as it is certain.
    fn truth(always: bool, never: bool) -> Range {
        match (always, never) {
            (true, _) => Range { low: 1.0, high: 1.0 },
            (_, true) => Range::ZERO,
            _ => Range::TRUTH,
        }
    }

    fn union(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// One of two, by whether this is true.
    fn choose(self, a: Range, b: Range) -> Range {
        match (self.is_zero(), self.can_be_zero()) {
            (true, _) => b,
            (_, false) => a,
            _ => a.union(b),
        }
    }

    /// The hull of an operation's results at the ends of both; where that is not defined, anything.
    fn ends(self, other: Range, apply: impl Fn(f64, f64) -> f64) -> Range {
        let ends = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        // An end that is infinite stands for a number without limit: 0 times it is 0.
        let results = ends.map(|(a, b)| apply(a, b)).map(|end| if end.is_nan() { 0.0 } else { end });
        let fold = |start: f64, pick: fn(f64, f64) -> f64| results.iter().copied().fold(start, pick);
        Range { low: fold(f64::INFINITY, f64::min), high: fold(f64::NEG_INFINITY, f64::max) }
    }
}

impl<N> Program<N> {
    /// Between which values its result lies. An estimate: what it leaves out cannot be.
    pub fn range(&self, value: impl Fn(&N) -> Range) -> Range {
        let mut stack: Vec<Range> = Vec::new();
        for operation in &self.operations {
            let result = match operation {
                Operation::Number(number) => Range { low: *number, high: *number },
                Operation::Name(name) => value(name),
                Operation::Apply(operator) => {
                    let b = stack.pop().unwrap_or(Range::ZERO);
                    let a = if operator.unary() { Range::ZERO } else { stack.pop().unwrap_or(Range::ZERO) };
                    match operator {
                        Operator::Choose => stack.pop().unwrap_or(Range::ZERO).choose(a, b),
                        operator => operator.range(a, b),
                    }
                }
            };
            stack.push(result);
        }
        stack.pop().unwrap_or(Range::ZERO)
    }
}

impl Operator {
    fn range(self, a: Range, b: Range) -> Range {
        match self {
            Operator::Not => Range::truth(b.is_zero(), !b.can_be_zero()),
            Operator::Negate => Range { low: -b.high, high: -b.low },
            Operator::Multiply => a.ends(b, |a, b| a * b),
            Operator::Divide if a.is_zero() || b.is_zero() => Range::ZERO,
            Operator::Divide => Range { low: f64::NEG_INFINITY, high: f64::INFINITY },
            Operator::Add => Range { low: a.low + b.low, high: a.high + b.high },
            Operator::Subtract => Range { low: a.low - b.high, high: a.high - b.low },
            Operator::Less => Range::truth(a.high < b.low, a.low >= b.high),
            Operator::LessOrEqual => Range::truth(a.high <= b.low, a.low > b.high),
            Operator::Greater => Range::truth(a.low > b.high, a.high <= b.low),
            Operator::GreaterOrEqual => Range::truth(a.low >= b.high, a.high < b.low),
            Operator::Equal => Range::truth(false, a.high < b.low || b.high < a.low),
            Operator::NotEqual => Range::truth(a.high < b.low || b.high < a.low, false),
            Operator::Xor if a.is_zero() && b.is_zero() => Range::ZERO,
            Operator::Xor => Range::COUNT,
            Operator::And if a.is_zero() || b.is_zero() => Range::ZERO,
            Operator::And if !a.can_be_zero() => b,
            Operator::And => b.union(Range::ZERO),
            Operator::Or if a.is_zero() => b,
            Operator::Or if !a.can_be_zero() => a,
            Operator::Or | Operator::Choose => a.union(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_only_be_zero_is_known() {
        let is_dead = |text: &str| {
            let program = Program::parse(text).expect("an expression");
            program.range(|name| if name.starts_with("NEVER") { Range::ZERO } else { Range::COUNT }).is_zero()
        };
        for text in [
            "NEVER",
            "A && NEVER",
            "NEVER + NEVER > 0",
            "NEVER * A",
            "NEVER / A",
            "NEVER1 || NEVER2",
            "!(1 + A)",
            "A < 0",
            "(A && NEVER) >= 1",
            "NEVER == 1",
            "1 != 1 && NEVER",
            "-NEVER - NEVER",
            "NEVER ? A : NEVER",
            "NEVER ^ NEVER",
        ] {
            assert!(is_dead(text), "{text}");
        }
        for text in [
            "A",
            "!NEVER",
            "A && !NEVER",
            "NEVER + A > 1",
            "A || NEVER",
            "A - 1",
            "NEVER < 1",
            "A / 2",
            "A * A > 5",
            "NEVER == 0",
            "A != 3",
            "!A",
            "-A < 0",
            "A ? NEVER : A",
            "A ^ NEVER",
        ] {
            assert!(!is_dead(text), "{text}");
        }
    }
}
