//! `[limits]`: what a client, and all of them together, may have.

use super::Limits;
use super::section::{Report, Section};

/// Reads `[limits]`. Limits that contradict each other are in force as they stand, and the operator hears of it.
pub(super) fn read(report: &mut Report, root: &Section<'_>) -> Option<Limits> {
    let section = root.section(report, "limits");
    let message_octets_max = count(report, &section, "message_octets_max");
    let recipients_max = count(report, &section, "recipients_max");
    let connections_max = count(report, &section, "connections_max");
    let connections_per_client_max = count(report, &section, "connections_per_client_max");
    let connections_per_network_max = count(report, &section, "connections_per_network_max");
    let connections_per_network_max = connections_per_network_max.map(|network: usize| {
        let is_default = section.value("connections_per_network_max").is_some_and(|value| value.at.is_none());
        // Who lets one address have more means it: a default must not stand against that.
        if is_default { network.max(connections_per_client_max.unwrap_or_default()) } else { network }
    });
    let bad_commands_max = count(report, &section, "bad_commands_max");
    let refused_recipients_max = count(report, &section, "refused_recipients_max");
    let messages_max = count(report, &section, "messages_max");
    let session_seconds_max = count(report, &section, "session_seconds_max");
    let data_octets_per_second_min = count(report, &section, "data_octets_per_second_min");
    let message_memory_octets_max = count(report, &section, "message_memory_octets_max");
    let memory_octets_max = count(report, &section, "memory_octets_max");
    let in_flight_octets_max = count(report, &section, "in_flight_octets_max");
    let in_flight_octets_per_network_max = count(report, &section, "in_flight_octets_per_network_max");
    let inspection_octets_max = count(report, &section, "inspection_octets_max");
    let limits = Limits {
        message_octets_max: message_octets_max?,
        recipients_max: recipients_max?,
        connections_max: connections_max?,
        connections_per_client_max: connections_per_client_max?,
        connections_per_network_max: connections_per_network_max?,
        bad_commands_max: bad_commands_max?,
        refused_recipients_max: refused_recipients_max?,
        messages_max: messages_max?,
        session_seconds_max: session_seconds_max?,
        data_octets_per_second_min: data_octets_per_second_min?,
        message_memory_octets_max: message_memory_octets_max?,
        memory_octets_max: memory_octets_max?,
        in_flight_octets_max: in_flight_octets_max?,
        in_flight_octets_per_network_max: in_flight_octets_per_network_max?,
        inspection_octets_max: inspection_octets_max?,
    };
    warn_of(report, &section, &limits);
    Some(limits)
}

/// A number of things, whatever its type.
fn count<T: TryFrom<u64>>(report: &mut Report, section: &Section<'_>, name: &str) -> Option<T> {
    section.value(name).and_then(|value| value.count(report))
}

/// Limits that stand in each other's way. Each pair is the smaller one, the larger one, and what comes of it.
fn warn_of(report: &mut Report, section: &Section<'_>, limits: &Limits) {
    let connections_max = limits.connections_max as u64;
    let per_client = limits.connections_per_client_max as u64;
    let per_network = limits.connections_per_network_max as u64;
    let pairs = [
        (
            ("in_flight_octets_max", limits.in_flight_octets_max),
            ("message_octets_max", limits.message_octets_max),
            "a message between the two is deferred each time it comes",
        ),
        (
            ("memory_octets_max", limits.memory_octets_max),
            ("message_memory_octets_max", limits.message_memory_octets_max),
            "the larger one has no effect",
        ),
        (
            ("connections_per_network_max", per_network),
            ("connections_per_client_max", per_client),
            "the larger one has no effect",
        ),
        (
            ("connections_max", connections_max),
            ("connections_per_network_max", per_network),
            "one network can keep all others out",
        ),
    ];
    for ((small, less), (large, more), outcome) in pairs.into_iter().filter(|((_, less), (_, more), _)| less < more) {
        let at = [small, large].iter().find_map(|name| section.value(name)?.at).unwrap_or(0);
        report.warning(at, format!("limits.{small} ({less}) is smaller than limits.{large} ({more}): {outcome}."));
    }
}
