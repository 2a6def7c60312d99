//! `[policy]`, the server's and a domain's own.

use super::section::{Report, Section};
use super::{DmarcMode, FolderName, Policy};

/// Reads the server's policy, or a domain's, which inherits from it.
pub(super) fn read(report: &mut Report, section: &Section<'_>) -> Option<Policy> {
    const DMARC: &[(&str, DmarcMode)] = &[("enforce", DmarcMode::Enforce), ("observe", DmarcMode::Observe)];
    let (junk, reject) = (section.value("junk_score"), section.value("reject_score"));
    let junk_score = junk.as_ref().and_then(|value| value.number(report));
    let reject_score = reject.as_ref().and_then(|value| value.number(report));
    let dmarc = section.value("dmarc").and_then(|value| value.choice(report, DMARC));
    let junk_folder = section.value("junk_folder").and_then(|value| value.parsed(report, folder_name));
    let policy =
        Policy { junk_score: junk_score?, reject_score: reject_score?, dmarc: dmarc?, junk_folder: junk_folder? };
    if let (true, Some(junk), Some(reject)) = (policy.junk_score > policy.reject_score, junk, reject) {
        let Policy { junk_score, reject_score, .. } = policy;
        let message = format!(
            "{}: {junk_score} is more than {}, {reject_score}: nothing would ever go to the Junk folder. \
             Write a junk_score of at most the reject_score.",
            junk.name, reject.name
        );
        let own = [&reject, &junk].into_iter().find(|value| value.name.starts_with(section.name()));
        report.error(own.and_then(|value| value.at).or(junk.at).unwrap_or(section.at), message);
    }
    Some(policy)
}

fn folder_name(text: &str) -> Result<FolderName, String> {
    let advise = |wrong| format!("\"{}\" {wrong}. Write a folder name such as \"Junk\".", text.escape_debug());
    text.parse().map_err(advise)
}
