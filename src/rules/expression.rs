//! Expressions: what stands in `meta` rules and behind `if`.
//!
//! *Does:* turns text into a small program in postfix order and runs it over numbers.
//! *Guarantees:* parsing is iterative (a stack of operators, no recursion) and bounded by [`TOKENS_MAX`]; a program that
//! parsed always evaluates. Division by zero is 0.
//! *Meaning:* Perl's, as the language was born in it: `a && b` is b if a is true, `a || b` is a if a is true, comparisons
//! and `!` give 1 or 0, `^` works on the bits of whole numbers, `a ? b : c` chooses.

mod range;

pub use range::Range;

/// The most tokens of one expression, and operations of one program.
pub const TOKENS_MAX: usize = 8_192;
/// What may be called in an expression, with one word in parentheses.
const FUNCTIONS: [&str; 4] = ["plugin", "can", "has", "rules_matching"];

/// An expression over names of type `N`.
#[derive(Debug, Clone, PartialEq)]
pub struct Program<N> {
    operations: Vec<Operation<N>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operation<N> {
    Number(f64),
    Name(N),
    Apply(Operator),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Not,
    Negate,
    Multiply,
    Divide,
    Add,
    Subtract,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Xor,
    And,
    Or,
    Choose,
}

/// What may stand on the operator stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Apply(Operator),
    Parenthesis,
    Question,
}

enum Token<'a> {
    Number(f64),
    Name(&'a str),
    /// A function and its argument.
    Call(&'a str, &'a str),
    Symbol(&'a str),
}

/// Longest first, so that `>=` is not read as `>`.
const SYMBOLS: [&str; 18] =
    ["&&", "||", ">=", "<=", "==", "!=", ">", "<", "!", "+", "-", "*", "/", "^", "?", ":", "(", ")"];

impl Operator {
    /// How strongly it binds, as in Perl (perlop).
    fn precedence(self) -> u8 {
        match self {
            Operator::Not | Operator::Negate => 8,
            Operator::Multiply | Operator::Divide => 7,
            Operator::Add | Operator::Subtract => 6,
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => 5,
            Operator::Equal | Operator::NotEqual => 4,
            Operator::Xor => 3,
            Operator::And => 2,
            Operator::Or => 1,
            Operator::Choose => 0,
        }
    }

    fn binary(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "^" => Operator::Xor,
            "&&" => Operator::And,
            "||" => Operator::Or,
            _ => return None,
        })
    }

    fn unary(self) -> bool {
        matches!(self, Operator::Not | Operator::Negate)
    }

    /// Takes its operands from the stack and gives its result.
    fn run(self, stack: &mut Vec<f64>) -> f64 {
        let b = stack.pop().unwrap_or(0.0);
        let a = if self.unary() { 0.0 } else { stack.pop().unwrap_or(0.0) };
        match self {
            Operator::Choose => [b, a][usize::from(stack.pop().unwrap_or(0.0) != 0.0)],
            _ => self.apply(a, b),
        }
    }

    fn apply(self, a: f64, b: f64) -> f64 {
        let truth = |value: bool| if value { 1.0 } else { 0.0 };
        match self {
            Operator::Not => truth(b == 0.0),
            Operator::Negate => -b,
            Operator::Multiply => a * b,
            Operator::Divide if b == 0.0 => 0.0,
            Operator::Divide => a / b,
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Less => truth(a < b),
            Operator::LessOrEqual => truth(a <= b),
            Operator::Greater => truth(a > b),
            Operator::GreaterOrEqual => truth(a >= b),
            Operator::Equal => truth(a == b),
            Operator::NotEqual => truth(a != b),
            Operator::Xor => ((a as u64) ^ (b as u64)) as f64,
            Operator::And => [a, b][usize::from(a != 0.0)],
            Operator::Or | Operator::Choose => [b, a][usize::from(a != 0.0)],
        }
    }
}

impl Program<String> {
    /// Reads an expression. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { operations: Vec::new(), pending: Vec::new(), operand_next: true };
        let mut rest = text;
        for _ in 0..TOKENS_MAX {
            rest = without_meaning(rest);
            if rest.is_empty() {
                return parser.finish();
            }
            let (token, after) = token(rest)?;
            parser.push(token)?;
            rest = after;
        }
        Err(format!("more than {TOKENS_MAX} tokens"))
    }

    /// Puts the sum of names in the place of each name for which there are such. False if that makes it too long.
    pub fn expand(&mut self, mut names: impl FnMut(&str) -> Option<Vec<String>>) -> bool {
        let mut expanded = Vec::with_capacity(self.operations.len());
        for operation in std::mem::take(&mut self.operations) {
            match &operation {
                Operation::Name(name) => match names(name) {
                    Some(names) => expanded.extend(sum(names)),
                    None => expanded.push(operation),
                },
                _ => expanded.push(operation),
            }
            if expanded.len() > TOKENS_MAX {
                return false;
            }
        }
        self.operations = expanded;
        true
    }
}

impl<N> Program<N> {
    /// Would it divide by zero with every name at 0? The language refuses such a rule. What `&&`, `||` and `? :` don't ask
    /// for is not divided.
    pub fn divides_by_zero(&self) -> bool {
        let mut stack: Vec<(f64, bool)> = Vec::new();
        for operation in &self.operations {
            let result = match operation {
                Operation::Number(number) => (*number, false),
                Operation::Name(_) => (0.0, false),
                Operation::Apply(operator) => {
                    let (b, b_divides) = stack.pop().unwrap_or_default();
                    let (a, a_divides) = if operator.unary() { (0.0, false) } else { stack.pop().unwrap_or_default() };
                    match operator {
                        Operator::And if a == 0.0 => (a, a_divides),
                        Operator::Or if a != 0.0 => (a, a_divides),
                        Operator::Choose => {
                            let (chooses, divides) = stack.pop().unwrap_or_default();
                            let (value, chosen) = if chooses != 0.0 { (a, a_divides) } else { (b, b_divides) };
                            (value, divides || chosen)
                        }
                        _ => {
                            let divides = *operator == Operator::Divide && b == 0.0;
                            (operator.apply(a, b), divides || a_divides || b_divides)
                        }
                    }
                }
            };
            stack.push(result);
        }
        stack.pop().is_some_and(|(_, divides)| divides)
    }
}

/// What adds these up; 0 where there are none.
fn sum(names: Vec<String>) -> impl Iterator<Item = Operation<String>> {
    let none = names.is_empty().then_some(Operation::Number(0.0));
    let terms = names.into_iter().enumerate().flat_map(|(at, name)| {
        let add = (at > 0).then_some(Operation::Apply(Operator::Add));
        std::iter::once(Operation::Name(name)).chain(add)
    });
    none.into_iter().chain(terms)
}

impl<N> Program<N> {
    /// The same program over other names.
    pub fn map<M>(self, mut name: impl FnMut(N) -> M) -> Program<M> {
        let operations = self.operations.into_iter().map(|operation| match operation {
            Operation::Number(number) => Operation::Number(number),
            Operation::Name(found) => Operation::Name(name(found)),
            Operation::Apply(operator) => Operation::Apply(operator),
        });
        Program { operations: operations.collect() }
    }

    /// The names in it, in order, repeated where they are.
    pub fn names(&self) -> impl Iterator<Item = &N> {
        self.operations.iter().filter_map(|operation| match operation {
            Operation::Name(name) => Some(name),
            _ => None,
        })
    }

    /// Its value. `stack` is scratch memory.
    pub fn evaluate(&self, stack: &mut Vec<f64>, value: impl Fn(&N) -> f64) -> f64 {
        stack.clear();
        for operation in &self.operations {
            let result = match operation {
                Operation::Number(number) => *number,
                Operation::Name(name) => value(name),
                Operation::Apply(operator) => operator.run(stack),
            };
            stack.push(result);
        }
        stack.pop().unwrap_or(0.0)
    }
}

/// The shunting-yard algorithm: operators wait until one that binds less comes.
struct Parser {
    operations: Vec<Operation<String>>,
    pending: Vec<Pending>,
    operand_next: bool,
}

impl Parser {
    fn push(&mut self, token: Token<'_>) -> Result<(), String> {
        let opens = |symbol| matches!(symbol, "(" | "!" | "-" | "+");
        match token {
            Token::Number(_) | Token::Name(_) | Token::Call(..) if !self.operand_next => {
                return Err("an operator is missing".into());
            }
            Token::Number(number) => self.operations.push(Operation::Number(number)),
            Token::Name(name) => self.operations.push(Operation::Name(name.to_owned())),
            Token::Call(function, argument) => self.operations.push(Operation::Name(format!("{function}({argument})"))),
            Token::Symbol(symbol) if self.operand_next && !opens(symbol) => {
                return Err(format!("a value is missing before \"{symbol}\""));
            }
            Token::Symbol("(") if !self.operand_next => return Err("an operator is missing before \"(\"".into()),
            Token::Symbol("(") => return self.wait(Pending::Parenthesis),
            Token::Symbol("!") if !self.operand_next => return Err("an operator is missing before \"!\"".into()),
            Token::Symbol("!") => return self.wait(Pending::Apply(Operator::Not)),
            Token::Symbol("-") if self.operand_next => return self.wait(Pending::Apply(Operator::Negate)),
            Token::Symbol("+") if self.operand_next => return Ok(()),
            Token::Symbol(")") => return self.close(),
            Token::Symbol("?") => {
                self.settle(Operator::Or.precedence());
                self.operand_next = true;
                return self.wait(Pending::Question);
            }
            Token::Symbol(":") => return self.choose(),
            Token::Symbol(symbol) => {
                let operator = Operator::binary(symbol).ok_or("an unknown operator")?;
                self.settle(operator.precedence());
                self.pending.push(Pending::Apply(operator));
                self.operand_next = true;
                return Ok(());
            }
        }
        self.operand_next = false;
        Ok(())
    }

    fn wait(&mut self, pending: Pending) -> Result<(), String> {
        self.pending.push(pending);
        Ok(())
    }

    /// Applies what binds at least as strongly.
    fn settle(&mut self, precedence: u8) {
        while let Some(Pending::Apply(operator)) = self.pending.last().copied() {
            if operator.precedence() < precedence {
                break;
            }
            self.pending.pop();
            self.operations.push(Operation::Apply(operator));
        }
    }

    /// The third operand of `? :` follows.
    fn choose(&mut self) -> Result<(), String> {
        self.settle(0);
        match self.pending.pop() {
            Some(Pending::Question) => {
                self.operand_next = true;
                self.wait(Pending::Apply(Operator::Choose))
            }
            _ => Err("a \":\" without a \"?\"".into()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        self.settle(0);
        match self.pending.pop() {
            Some(Pending::Parenthesis) => Ok(()),
            _ => Err("a \")\" too many".into()),
        }
    }

    fn finish(mut self) -> Result<Program<String>, String> {
        if self.operand_next {
            return Err("a value is missing at the end".into());
        }
        self.settle(0);
        match self.pending.is_empty() {
            true => Ok(Program { operations: self.operations }),
            false => Err("a \")\" is missing".into()),
        }
    }
}

/// Text from its first character on that can mean something. The language passes over white space, a single `=`, `&` or
/// `|`, quotation marks and the like without a word; characters of Perl's that could do harm it refuses.
fn without_meaning(text: &str) -> &str {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let means = character.is_ascii_alphanumeric() || "_.$@%;{}".contains(character);
        if means || SYMBOLS.iter().any(|symbol| rest.starts_with(symbol)) {
            break;
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    rest
}

/// The first token and what follows. A function with its argument is one token.
fn token(text: &str) -> Result<(Token<'_>, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    if run.contains(|c: char| c.is_ascii_digit() || c == '.') {
        // Signs and digits in one run are no number to the language: it wants white space between.
        let legal = run.starts_with(|c: char| c.is_ascii_digit()) && run.ends_with(|c: char| c.is_ascii_digit());
        let number = run.parse().ok().filter(|_| legal).ok_or_else(|| format!("\"{run}\" is no number"))?;
        return Ok((Token::Number(number), rest));
    }
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)) {
        let (symbol, rest) = text.split_at(symbol.len());
        return Ok((Token::Symbol(symbol), rest));
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() {
        return Err(format!("unexpected \"{}\"", text.chars().take(1).collect::<String>()));
    }
    if let Some(arguments) = rest.trim_ascii_start().strip_prefix('(').filter(|_| FUNCTIONS.contains(&word)) {
        let (argument, rest) = arguments.split_once(')').ok_or_else(|| format!("the \")\" of {word} is missing"))?;
        return Ok((Token::Call(word, argument.trim_ascii()), rest));
    }
    Ok((Token::Name(word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<f64, String> {
        let program = Program::parse(text)?;
        let of = |name: &String| match name.as_str() {
            "A" => 1.0,
            "B" => 2.0,
            "plugin(X::Y)" => 3.0,
            _ => 0.0,
        };
        Ok(program.evaluate(&mut Vec::new(), of))
    }

    #[test]
    fn expressions_mean_what_perl_means() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2)*3", 9.0),
            ("A + B >= 3", 1.0),
            ("A&&!C", 1.0),
            ("!A || B", 2.0),
            ("!(A && B)", 0.0),
            ("(A || C) && (B > 1)", 1.0),
            ("A && B", 2.0),
            ("C || B", 2.0),
            ("10 - 4 - 3", 3.0),
            ("8 / 4 / 2", 1.0),
            ("1 / 0", 0.0),
            ("-A + 2", 1.0),
            ("!!B", 1.0),
            ("! C + 1", 2.0),
            ("A == 1 != 0", 1.0),
            ("1 < 2 == 1", 1.0),
            ("3.004 >= 3.003", 1.0),
            ("plugin(X::Y) > 2", 1.0),
            ("plugin ( X::Y )", 3.0),
            ("(((((A)))))", 1.0),
            ("A +-B", -1.0),
            ("\"A\" &&& B,", 2.0),
            ("~A < = 2 \\", 1.0),
            ("A ? B : C", 2.0),
            ("C ? A : B ? 5 : 6", 5.0),
            ("(A > B ? 5 : 6) + 1", 7.0),
            ("A ^ 3", 2.0),
            ("A^A||B", 2.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn divisions_by_zero_are_seen() {
        for (text, expected) in [
            ("A / B", true),
            ("A / 2", false),
            ("A && A / B", false),
            ("A || A / B", true),
            ("1 || A / B", false),
            ("A ? B / C : 1", false),
            ("1 ? B / C : 1", true),
            ("!(A / (B + 1)) + 1 / C", true),
        ] {
            assert_eq!(Program::parse(text).map(|program| program.divides_by_zero()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = "(".repeat(60_000);
        let long = "A+".repeat(20_000);
        for text in [
            "",
            "A B",
            "A &&",
            "&& A",
            "(A",
            "A)",
            "A ! B",
            "A(",
            "()",
            "1.2.3",
            "A & B",
            "A ; B",
            "A ?",
            "A ? B",
            "A : B",
            "(A ? B) : C",
            "A ? (B : C)",
            "f(A)",
            "plugin(A",
            "A ** B",
            &deep,
            &long,
        ] {
            assert!(value(text).is_err(), "{text:.20}");
        }
        let mut glob = Program::parse("1 + rules_matching(X*) * 2").expect("a program");
        let is_glob = |name: &str| name == "rules_matching(X*)";
        assert!(glob.expand(|name| is_glob(name).then(|| vec!["A".to_owned(), "B".to_owned(), "B".to_owned()])));
        assert_eq!(glob.evaluate(&mut Vec::new(), |name| if name == "A" { 1.0 } else { 2.0 }), 11.0);
        assert_eq!(glob.names().count(), 3);
        assert!(!glob.expand(|_| Some(vec![String::new(); TOKENS_MAX])));
        let nots = format!("{}A", "!".repeat(4_000));
        assert_eq!(value(&nots), Ok(1.0));
        let nested = format!("{}A{}", "(".repeat(4_000), ")".repeat(4_000));
        assert_eq!(value(&nested), Ok(1.0));
    }
}
