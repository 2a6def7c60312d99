//! What a process holds: memory and descriptors, as the kernel tells it.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The proportional set size in KiB: all that is resident, what is shared counted in parts.
pub fn pss_kib(pid: u32) -> u64 {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Its part without files, in KiB: pages of the program are shared with other servers, and count for more when those end.
pub fn pss_anonymous_kib(pid: u32) -> u64 {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss_Anon:")
}

/// The largest resident set since the start, or since `forget_peak`, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field_kib(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// From now on only what is resident now counts for the peak (proc_pid_clear_refs(5)).
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of ours");
}

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").count()
}

/// Lets this process, and those that it starts, open so many descriptors.
pub fn allow_descriptors(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return;
    }
    let maximum = maximum.map(|maximum| maximum.max(count));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum });
    raised.unwrap_or_else(|error| panic!("{count} descriptors are needed (ulimit -n): {error}"));
}

fn field_kib(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).expect("a process of ours");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    value.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
