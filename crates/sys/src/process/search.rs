//! Finding processes nobody holds a handle to.

use super::{Process, stat};

/// The running processes whose command line has an argument that contains
/// this text. Ended ones, this process, and an empty text find nothing.
pub fn find_by_argument(text: &str) -> Vec<Process> {
    let own = std::process::id() as i32;
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own && !text.is_empty() && names(*pid, text))
        // Held first and looked at again: the id may have passed to another.
        .filter_map(|pid| Process::current(pid).ok().flatten())
        .filter(|process| !process.has_ended() && names(process.id().pid, text))
        .filter(|process| {
            let now = stat(process.id().pid).ok().flatten();
            now.is_some_and(|now| now.start_time == process.id().start_time)
        })
        .collect()
}

fn names(pid: i32, text: &str) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    line.split(|byte| *byte == 0).any(|argument| {
        argument
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}
