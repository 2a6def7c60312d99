//! What is printed of one message: whole, as a row of a table, or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::findings;
use crate::authentication::{Authentication, Finding};
use crate::config::Policy;
use crate::receive::Examination;
use crate::rules::Trace;
use crate::verdict::{Decision, Disposition, Question};

/// A row shows so many rules, those that count most.
const ROW_RULES_MAX: usize = 4;

/// How reports look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    json: bool,
    explain: bool,
    many: bool,
}

impl Format {
    /// By the options, and by whether there may be many.
    pub fn of(json: bool, explain: bool, many: bool) -> Self {
        Format { json, explain, many }
    }

    /// Is there a summary to come?
    pub fn is_many(self) -> bool {
        self.many
    }

    /// One object a line?
    pub fn is_json(self) -> bool {
        self.json
    }
}

/// What was found of one message, and what would become of it.
#[derive(Debug, Serialize)]
pub struct Report {
    file: String,
    score: f64,
    /// `policy.junk_score` and `policy.reject_score` as they apply to the recipient.
    junk_score: f64,
    reject_score: f64,
    /// `inbox`, `junk` and so on.
    pub verdict: &'static str,
    cause: Option<&'static str>,
    /// What DMARC asks for, what is done, and who overrides it; null where it does not fail.
    dmarc: Option<Disposition>,
    reply: String,
    /// The scored rules that hit.
    pub rules: BTreeMap<String, f64>,
    /// The rules whose pattern took more steps than it may on this message: they count as not hit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explained: Option<Vec<Explained>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Authentication>,
    findings: Vec<Finding>,
    /// What the rules took.
    #[serde(skip)]
    pub trace: Trace,
}

/// A hit in words.
#[derive(Debug, Clone, Serialize)]
struct Explained {
    rule: String,
    score: f64,
    describe: Option<String>,
    /// What its pattern matched, or for a meta rule the rules that it is made of and that hit.
    matched: Option<String>,
}

impl Report {
    /// Puts together what is to be said.
    pub fn new(file: String, examination: Examination, decision: Decision, policy: &Policy) -> Self {
        let Examination { authentication, mut hits, .. } = examination;
        let id = crate::journal::new_id();
        let trace = hits.trace.take().map(|trace| *trace).unwrap_or_default();
        let explained = hits.hits.iter().map(|hit| Explained {
            rule: hit.name.to_string(),
            score: hit.score,
            describe: hit.describe.as_deref().map(str::to_owned),
            matched: trace.matched.get(&hit.name).cloned(),
        });
        Report {
            file,
            score: hits.score(),
            junk_score: policy.junk_score,
            reject_score: policy.reject_score,
            verdict: decision.verdict.name(),
            cause: decision.cause.as_ref().map(|cause| cause.name()),
            dmarc: decision.dmarc,
            reply: decision.verdict.reply(Question::Message, &id).to_string(),
            rules: hits.hits.iter().map(|hit| (hit.name.to_string(), hit.score)).collect(),
            given_up: hits.given_up.iter().map(|name| name.to_string()).collect(),
            explained: Some(explained.collect()),
            findings: authentication.as_ref().map(Authentication::explain).unwrap_or_default(),
            authentication,
            trace,
        }
    }

    /// What is printed of it; the first of many brings the table's head.
    pub fn text(&self, format: Format, first: bool) -> String {
        match (format.json, format.many && !format.explain) {
            (true, _) => self.json(format.explain),
            (false, true) if first => {
                format!("{:>7}  {:<8} {:>5}  message: rules\n{}", "score", "verdict", "rules", self.row())
            }
            (false, true) => self.row(),
            (false, false) => self.whole(format.explain),
        }
    }

    fn json(&self, explain: bool) -> String {
        let shown = if explain { serde_json::to_string(self) } else { serde_json::to_string(&self.unexplained()) };
        // All of its keys are texts: it can be written.
        shown.map(|text| text + "\n").unwrap_or_default()
    }

    fn unexplained(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.as_object_mut().map(|object| object.remove("explained"));
        value
    }

    fn row(&self) -> String {
        let mut rules: Vec<(&String, &f64)> = self.rules.iter().collect();
        rules.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        let shown: Vec<String> =
            rules.iter().take(ROW_RULES_MAX).map(|(name, score)| format!("{name}={score}")).collect();
        let more = rules.len().saturating_sub(ROW_RULES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let name = self.file.escape_debug();
        format!("{:>7.2}  {:<8} {:>5}  {name}: {}{more}\n", self.score, self.verdict, rules.len(), shown.join(" "))
    }

    fn whole(&self, explain: bool) -> String {
        let mut out = format!("{}: {} ({})\n", self.file.escape_debug(), self.verdict, self.reply);
        // Writing to a String cannot fail.
        if let Some(cause) = self.cause {
            let _ = writeln!(out, "  cause           {cause}");
        }
        if let Some(Disposition { applied, by: Some(by), .. }) = &self.dmarc {
            let _ = writeln!(out, "  override        {by} (applied: {applied})");
        }
        let Report { score, junk_score, reject_score, .. } = self;
        let _ = writeln!(
            out,
            "  score           {score:.3} (Junk from policy.junk_score {junk_score}, refused from policy.reject_score {reject_score})"
        );
        self.write_rules(explain, &mut out);
        for name in &self.given_up {
            let _ = writeln!(out, "  given up        {name}: its pattern took too many steps, and counts as not hit");
        }
        if let Some(found) = &self.authentication {
            out.push_str("  authentication\n");
            for line in found.field("scan").lines().skip(1) {
                let _ = writeln!(out, "    {}", line.trim());
            }
        }
        out.push_str(&findings::text(&self.findings));
        out
    }

    fn write_rules(&self, explain: bool, out: &mut String) {
        if !explain {
            for (name, score) in &self.rules {
                let _ = writeln!(out, "  rule            {score:>6.2}  {name}");
            }
            return;
        }
        let mut explained = self.explained.clone().unwrap_or_default();
        explained.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.rule.cmp(&b.rule)));
        for Explained { rule, score, describe, matched } in &explained {
            let _ = writeln!(out, "  rule            {score:>6.2}  {rule}");
            let matched = matched.as_ref().map(|text| format!("matched: {text}"));
            for text in describe.iter().chain(&matched) {
                let _ = writeln!(out, "                          {text}");
            }
        }
    }
}
