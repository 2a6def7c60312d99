//! The same questions to Perl itself, where there is one.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Budget, Pattern};

/// Asks Perl: a line for each question with where the first match begins and ends and how many there are.
const SCRIPT: &str = r#"
while (<STDIN>) {
  chomp; my ($written, $text) = map { pack 'H*', $_ } split /,/, $_, -1;
  my $re = eval { qr/(?^aa:$written)/ };
  if (!defined $re) { print "refused\n"; next }
  if ($text !~ $re) { print "no\n"; next }
  my ($from, $to, $count) = ($-[0], $+[0], 0);
  pos($text) = undef; while ($text =~ /$re/g) { last if ++$count >= 20 }
  print "$from $to $count\n";
}
"#;

/// Small numbers in a fixed order.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % sides
    }

    fn one_of(&mut self, of: &[&str]) -> String {
        of[self.throw(of.len())].to_owned()
    }

    fn pattern(&mut self, depth: u32, groups: &mut usize) -> String {
        (0..=self.throw(3)).map(|_| self.part(depth, groups)).collect()
    }

    fn part(&mut self, depth: u32, groups: &mut usize) -> String {
        let atom = match self.throw(if depth == 0 { 5 } else { 11 }) {
            0 | 1 => self.one_of(&["a", "b", "ab", "c", " ", "\\n", "A"]),
            2 => self.one_of(&[".", "\\w", "\\s", "[ab]", "[^a]", "[[:alpha:]]", "\\D", "[a-c\\d]"]),
            3 => return self.one_of(&["^", "$", "\\b", "\\B", "\\A", "\\z", "\\Z", "(?i)", "(?m)", "(?s)"]),
            4 if *groups > 0 => format!("\\{}", self.throw(*groups) + 1),
            4 | 5 => format!("(?:{}|{})", self.pattern(0, groups), self.pattern(0, groups)),
            6 | 7 => {
                // Groups in groups, and references to groups that are still open, are where Perl's shortcuts show.
                *groups += 1;
                format!("({})", self.pattern(0, &mut 0))
            }
            8 => {
                let kind = self.one_of(&["(?=", "(?!", "(?>"]);
                return format!("{kind}{})", self.pattern(0, &mut 0));
            }
            9 => return self.one_of(&["(?<=a)", "(?<!b)", "(?<=ab|c)", "(?<!\\n)", "(?<=^a?)"]),
            _ => format!("(?:{}|ab|a|b+)", self.pattern(depth - 1, groups)),
        };
        let quantifier =
            self.one_of(&["", "", "", "*", "+", "?", "{2}", "{1,2}", "{,2}", "*?", "+?", "??", "++", "{1,}?"]);
        atom + &quantifier
    }

    fn text(&mut self) -> String {
        (0..self.throw(10)).map(|_| self.one_of(&["a", "b", "c", "A", " ", "\n", "ab", "1"])).collect()
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|octet| format!("{octet:02x}")).collect()
}

fn ours(written: &str, text: &str) -> String {
    let Ok(pattern) = Pattern::parse(format!("m{{{written}}}").as_bytes()) else { return "refused".into() };
    let mut budget = Budget::new(10_000_000);
    let found = pattern.find(text.as_bytes(), &mut budget);
    if budget.aborts() > 0 {
        return "given up".into();
    }
    assert_eq!(found.is_some(), pattern.is_match(text.as_bytes(), &mut budget), "{written}");
    match found {
        None => "no".into(),
        Some(found) => format!("{} {} {}", found.start, found.end, pattern.count(text.as_bytes(), 20, &mut budget)),
    }
}

#[test]
fn perl_says_the_same() {
    let perl = Command::new("perl").args(["-e", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut perl) = perl else {
        println!("skipped: there is no perl here to compare with");
        return;
    };
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut questions = Vec::new();
    for _ in 0..400 {
        let written = dice.pattern(1, &mut 0);
        questions.extend((0..4).map(|_| (written.clone(), dice.text())));
    }
    let asked: String = questions.iter().map(|(written, text)| format!("{},{}\n", hex(written), hex(text))).collect();
    let mut stdin = perl.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = perl.wait_with_output().expect("perl ends");
    writer.join().expect("the questions are written").expect("perl reads them");
    let answers = String::from_utf8(output.stdout).expect("numbers");
    assert_eq!(answers.lines().count(), questions.len());
    let matched = answers.lines().filter(|answer| answer.contains(' ')).count();
    assert!(matched > 300, "the questions are worth asking: {matched}");
    let mut given_up = 0;
    for ((written, text), answer) in questions.iter().zip(answers.lines()) {
        match ours(written, text).as_str() {
            "given up" => given_up += 1,
            ours => assert_eq!(ours, answer, "{written} on {text:?}"),
        }
    }
    assert!(given_up < 10, "{given_up} of {} were given up", questions.len());
}
