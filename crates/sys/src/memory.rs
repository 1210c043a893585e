//! Giving memory back that a daemon needs no longer.

use std::path::Path;

/// Gives back what start-up has left behind: free heap, and the pages of the
/// program's own code, of which a daemon at rest needs few. They come back
/// from the page cache, one by one, when they are run again.
pub fn release_unused() {
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe { libc::malloc_trim(0) };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else {
        return;
    };
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, length) in code_of(&program, &maps) {
        // SAFETY: the range is a private mapping of this program's file that
        // is not writable, so every page is as in the file, which cannot be
        // written while it runs: what is dropped is read again, unchanged.
        // The range is mapped for as long as the program runs. On an error
        // nothing has changed.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Where the code of a program's file is mapped: start and length.
fn code_of(program: &Path, maps: &str) -> Vec<(usize, usize)> {
    maps.lines()
        .filter_map(|line| code_in(program, line))
        .collect()
}

/// `55d0c8a00000-55d0c9300000 r-xp 00258000 fe:00 1234    /usr/bin/stead`
fn code_in(program: &Path, line: &str) -> Option<(usize, usize)> {
    let mut fields = line.splitn(6, ' ');
    let (range, access) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?.trim_start();
    if access != "r-xp" || Path::new(path) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
1000-2000 r--p 00000000 fe:00 12                         /usr/bin/stead
2000-5000 r-xp 00001000 fe:00 12                         /usr/bin/stead
5000-6000 r--p 00004000 fe:00 12                         /usr/bin/stead
6000-7000 rw-p 00005000 fe:00 12                         /usr/bin/stead
8000-9000 r-xp 00000000 fe:00 13                         /usr/lib/libc.so.6
a000-b000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn only_the_programs_own_code_is_dropped() {
        assert_eq!(
            code_of(Path::new("/usr/bin/stead"), MAPS),
            [(0x2000, 0x3000)]
        );
        assert!(code_of(Path::new("/usr/bin/other"), MAPS).is_empty());
        assert!(code_of(Path::new("/usr/bin/stead"), "nonsense\n1-2 r-xp\n").is_empty());
    }

    #[test]
    fn the_program_runs_on_with_less() {
        let resident = || {
            let stat = crate::process::stat(std::process::id() as i32)
                .unwrap()
                .unwrap();
            stat.resident_bytes
        };
        // Touched, so that there is something to give back.
        drop(vec![1u8; 8 << 20]);
        let before = resident();
        release_unused();
        assert!(resident() < before, "{} of {before}", resident());
    }
}
