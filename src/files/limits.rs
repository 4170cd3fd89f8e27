//! How much of the machine's memory and processors this process may use: by its control groups (of both versions), by the limits of its
//! shell, and by the scheduler. Only Linux reports these.

use super::disk::read_text_capped;
use super::machine;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The largest system file that is read.
const CAP: u64 = 16 << 20;
/// From this value on, a limit means no limit: version 1 writes the largest multiple of a page.
const ENDLESS: u64 = 1 << 60;

/// The field of `memory.stat` in which version 1 reports the lowest limit of a group and the groups above it, including hidden ones.
const HIDDEN: &str = "hierarchical_memory_limit";

/// A bound on memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Bytes that can still be allocated.
    pub left: u64,
    /// The limit in bytes; `None` for the machine's own memory.
    pub limit: Option<u64>,
    /// What sets the limit, as in `control group /a (memory.max)`.
    pub name: String,
}

impl Bound {
    /// How much is left, in words: `389 MiB are left of 400 MiB, the limit of …`.
    pub fn words(&self) -> String {
        let left = self.left >> 20;
        match self.limit {
            Some(limit) => format!("{left} MiB are left of {} MiB, the limit of {}", limit >> 20, self.name),
            None => format!("{left} MiB are available"),
        }
    }

    /// Refuses a need beyond what is left. Errors: [`Error::Input`] with both sizes and the limit; `remedy` says what would need less.
    pub fn require(&self, needed: u128, remedy: &str) -> Result<()> {
        if needed <= u128::from(self.left) {
            return Ok(());
        }
        Err(Error::input("memory", format!("{} MiB are needed, {}", needed.div_ceil(1 << 20), self.words()), remedy))
    }
}

/// The bound that leaves the least memory; `None` where the system reports none.
pub fn memory() -> Option<Bound> {
    bounds(Path::new("/")).into_iter().min_by_key(|bound| bound.left)
}

/// The lowest limit below the machine's memory, if there is one.
pub fn memory_limit() -> Option<Bound> {
    let total = machine::memory("MemTotal").unwrap_or(u64::MAX);
    let limits = bounds(Path::new("/")).into_iter().filter(|bound| bound.limit.is_some_and(|limit| limit < total));
    limits.min_by_key(|bound| (bound.limit, bound.left))
}

/// Refuses a need for more memory than is left. Nothing is refused where the system does not report how much is left.
///
/// # Errors
/// [`Error::Input`] with both sizes and the limit.
pub fn require(needed: u128, remedy: &str) -> Result<()> {
    memory().map_or(Ok(()), |bound| bound.require(needed, remedy))
}

/// All bounds on memory, from the system's files below `root`.
fn bounds(root: &Path) -> Vec<Bound> {
    let text = |path: &str| read_text_capped(&root.join(path), CAP).unwrap_or_default();
    let kib = |text: &str, field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).map(|kib| kib << 10)
    };
    let machine = kib(&text("proc/meminfo"), "MemAvailable");
    let mut found: Vec<Bound> =
        machine.map(|left| Bound { left, limit: None, name: "the machine".into() }).into_iter().collect();
    let (groups, mounts) = (text("proc/self/cgroup"), text("proc/self/mountinfo"));
    for (version, mount, group) in mounted(&groups, &mounts) {
        found.extend(of_groups(root, version, &mount, &group));
    }
    let (limits, status) = (text("proc/self/limits"), text("proc/self/status"));
    for (title, used, name) in
        [("Max address space", "VmSize", "address space (ulimit -v)"), ("Max data size", "VmData", "data (ulimit -d)")]
    {
        let soft = limits.lines().find_map(|line| line.strip_prefix(title)?.split_whitespace().next()?.parse().ok());
        if let (Some(limit), Some(used)) = (soft.filter(|&limit: &u64| limit < ENDLESS), kib(&status, used)) {
            found.push(Bound { left: limit.saturating_sub(used), limit: Some(limit), name: name.into() });
        }
    }
    found
}

/// The versions of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where the control groups for memory are mounted, each with this process's own group below the mount. The arguments are the texts of
/// `/proc/self/cgroup` and `mountinfo`.
fn mounted(groups: &str, mounts: &str) -> Vec<(Version, PathBuf, PathBuf)> {
    let group = |version| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let of_version = match version {
                Version::One => controllers.split(',').any(|name| name == "memory"),
                Version::Two => controllers.is_empty(),
            };
            of_version.then_some(path)
        })
    };
    let one = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let (place, kind): (Vec<&str>, Vec<&str>) = (place.split(' ').collect(), kind.split(' ').collect());
        let (&within, &at) = (place.get(3)?, place.get(4)?);
        let version = match *kind.first()? {
            "cgroup2" => Version::Two,
            "cgroup" if kind.get(2)?.split(',').any(|option| option == "memory") => Version::One,
            _ => return None,
        };
        let path = group(version)?;
        // A container sees the hierarchy from its own group on, and may be told the group's name as it is outside.
        let below = match path.strip_prefix(within) {
            Some(rest) if within == "/" || rest.is_empty() || rest.starts_with('/') => rest,
            _ => "",
        };
        let below = Path::new(below.trim_start_matches('/'));
        let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        Some((version, PathBuf::from(unescaped(at)), if plain { below.to_owned() } else { PathBuf::new() }))
    };
    mounts.lines().filter_map(one).collect()
}

/// Decodes a path from `mountinfo`, where blanks and similar characters are octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

/// The limits of a group and of every visible group above it.
fn of_groups(root: &Path, version: Version, mount: &Path, group: &Path) -> Vec<Bound> {
    let top = root.join(mount.strip_prefix("/").unwrap_or(mount));
    let mut folder = top.join(group);
    if !folder.is_dir() {
        folder = top.clone();
    }
    // Version 1 tells a group of the least limit above it, hidden or not: of what is to be seen, the group that has it is named.
    let told = |mut found: Vec<Bound>| {
        let seen = found.iter().filter(|bound| !bound.name.contains(HIDDEN)).filter_map(|bound| bound.limit).min();
        found.retain(|bound| !bound.name.contains(HIDDEN) || seen.is_none_or(|seen| bound.limit < Some(seen)));
        found
    };
    let mut found = Vec::new();
    loop {
        let name = folder.strip_prefix(&top).map_or(String::new(), |below| below.display().to_string());
        found.extend(of_group(version, &folder, &format!("/{name}")));
        if folder == top || !folder.pop() {
            return told(found);
        }
        // Without hierarchy a group of version 1 is not counted in the one above it.
        if version == Version::One && file(&folder, "memory.use_hierarchy").as_deref() == Some("0") {
            return told(found);
        }
    }
}

fn file(folder: &Path, name: &str) -> Option<String> {
    Some(read_text_capped(&folder.join(name), CAP).ok()?.trim().to_owned())
}

/// The limits of one group.
fn of_group(version: Version, folder: &Path, group: &str) -> Vec<Bound> {
    let number = |name: &str| file(folder, name)?.parse::<u64>().ok();
    let stat = file(folder, "memory.stat").unwrap_or_default();
    let of_stat = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let (used, total, limits): (_, _, &[&str]) = match version {
        Version::One => ("memory.usage_in_bytes", "total_", &["memory.limit_in_bytes"]),
        Version::Two => ("memory.current", "", &["memory.max", "memory.high"]),
    };
    let cached = |name: &str| of_stat(&format!("{total}{name}")).unwrap_or(0);
    let mapped = cached(if version == Version::One { "mapped_file" } else { "file_mapped" });
    // Read from disk and to be had from there again: given up before anything is killed, but for what programs are run from.
    let given_up = (cached("inactive_file") + cached("active_file")).saturating_sub(mapped);
    let used = number(used).map(|used| used.saturating_sub(given_up));
    let bound = |(name, limit): (&str, u64)| {
        let (left, name) = (limit.saturating_sub(used?), format!("control group {group} ({name})"));
        (limit < ENDLESS).then_some(Bound { left, limit: Some(limit), name })
    };
    let own = limits.iter().filter_map(|&name| Some((name, number(name)?)));
    // Of groups that are hidden from a container; what they have used is not told.
    let above = of_stat(HIDDEN).map(|limit| (HIDDEN, limit));
    own.chain(above.filter(|_| version == Version::One)).filter_map(bound).collect()
}

/// How many threads compute, and the reason for that number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threads {
    /// The number.
    pub count: usize,
    /// What sets the number.
    pub why: &'static str,
}

/// As many threads as this process may run at once: on the processors that it may use, within the control group's quota, and no more than
/// the scheduler has assigned.
pub fn threads() -> Threads {
    let may = std::thread::available_parallelism().map_or(1, usize::from);
    let list = |path: &str| read_text_capped(Path::new(path), CAP).ok().and_then(|text| listed(&text));
    let allowed = machine::proc_field("/proc/self/status", "Cpus_allowed_list").and_then(|text| listed(&text));
    threads_of(
        may,
        allowed,
        list("/sys/devices/system/cpu/online"),
        std::env::var("SLURM_CPUS_PER_TASK").ok().as_deref(),
    )
}

/// How many processors a list such as `0-3,8` names.
fn listed(text: &str) -> Option<usize> {
    let one = |part: &str| match part.split_once('-') {
        Some((low, high)) => high.parse::<usize>().ok()?.checked_sub(low.parse().ok()?)?.checked_add(1),
        None => part.parse::<usize>().ok().map(|_| 1),
    };
    text.trim().split(',').map(|part| one(part.trim())).sum()
}

fn threads_of(may: usize, allowed: Option<usize>, online: Option<usize>, slurm: Option<&str>) -> Threads {
    let given = slurm.and_then(|text| text.trim().parse::<usize>().ok()).filter(|&given| given >= 1);
    let below = |bound: Option<usize>| bound.is_some_and(|bound| may < bound);
    let why = match given {
        Some(given) if given < may => return Threads { count: given, why: "SLURM_CPUS_PER_TASK" },
        _ if below(allowed) => "the control group's processor quota",
        _ if below(online) => "the processors that this process may use",
        _ => "all processors",
    };
    Threads { count: may, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A fake machine's files: paths with their texts.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 32768 kB\nMemAvailable:   16384 kB\n");
    const V2: (&str, &str) =
        ("proc/self/mountinfo", "24 23 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
    const V1: (&str, &str) = (
        "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n",
    );

    fn least(files: &[(&str, &str)]) -> Bound {
        bounds(machine(files).path()).into_iter().min_by_key(|bound| bound.left).unwrap()
    }

    #[test]
    fn the_least_of_version_2_and_of_every_group_above() {
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let own = [
            MEMINFO,
            V2,
            group,
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "5\n"),
        ];
        let free = least(&own);
        assert_eq!((free.left, free.limit), (16 << 20, None));
        assert_eq!(free.words(), "16 MiB are available");
        let above = [
            ("sys/fs/cgroup/a/memory.max", "8388608\n"),
            ("sys/fs/cgroup/a/memory.current", "7340032\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 1\nfile 9\ninactive_file 1048576\nactive_file 1048576\nfile_mapped 524288\nslab 3\n",
            ),
        ];
        let bound = least(&[&own[..], &above].concat());
        assert_eq!((bound.left, bound.limit), ((1 << 20) + (3 << 19), Some(8 << 20)));
        assert_eq!(bound.words(), "2 MiB are left of 8 MiB, the limit of control group /a (memory.max)");
        assert!(bound.require(2 << 20, "x").is_ok());
        let refusal = bound.require(3 << 20, "a smaller --batch needs less").unwrap_err();
        assert_eq!(refusal.exit_code(), 2);
        assert_eq!(
            refusal.to_string(),
            "memory: 3 MiB are needed, 2 MiB are left of 8 MiB, the limit of control group /a (memory.max); a smaller --batch needs less"
        );
        // Beyond this a group is slowed down to a standstill.
        let high = [("sys/fs/cgroup/a/b/memory.high", "1048576\n")];
        let bound = least(&[&own[..], &high].concat());
        assert_eq!((bound.left, bound.name.as_str()), ((1 << 20) - 5, "control group /a/b (memory.high)"));
        // More is used than the limit that was set since.
        let over = [("sys/fs/cgroup/a/b/memory.high", "4\n")];
        assert_eq!(least(&[&own[..], &over].concat()).left, 0);
    }

    #[test]
    fn the_least_of_version_1_with_and_without_hierarchy() {
        let at = "sys/fs/cgroup/memory/x/memory.";
        let own = [MEMINFO, V1, ("proc/self/cgroup", "5:devices:/d\n4:hugetlb,memory:/x/y\n0::/\n")];
        let file = |name: &str| format!("{at}{name}");
        let (limit, used, stat) = (file("limit_in_bytes"), file("usage_in_bytes"), file("stat"));
        let above = [
            (limit.as_str(), "10485760\n"),
            (used.as_str(), "9437184\n"),
            (stat.as_str(), "inactive_file 0\ntotal_inactive_file 2097152\ntotal_mapped_file 0\n"),
            ("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/x/y/memory.usage_in_bytes", "1048576\n"),
        ];
        let bound = least(&[&own[..], &above].concat());
        assert_eq!((bound.left, bound.limit), (3 << 20, Some(10 << 20)));
        assert!(bound.name.contains("group /x (memory.limit_in_bytes)"), "{}", bound.name);
        let flat = file("use_hierarchy");
        let alone = [(flat.as_str(), "0\n")];
        assert_eq!(least(&[&own[..], &above, &alone].concat()).limit, None);
        // Of a group above that a container does not see there is the limit alone.
        let hidden = [("sys/fs/cgroup/memory/x/y/memory.stat", "hierarchical_memory_limit 4194304\n")];
        let same = [("sys/fs/cgroup/memory/x/y/memory.stat", "hierarchical_memory_limit 10485760\n")];
        let bound = least(&[&own[..], &above, &same].concat());
        assert_eq!((bound.left, bound.name.as_str()), (3 << 20, "control group /x (memory.limit_in_bytes)"));
        assert_eq!(least(&[&own[..], &above, &hidden].concat()).left, 3 << 20);
        assert_eq!(least(&[&own[..], &above[3..], &hidden].concat()).left, 3 << 20);
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_top() {
        let limit = [("sys/fs/cgroup/memory.max", "2097152\n"), ("sys/fs/cgroup/memory.current", "0\n")];
        // With a namespace of its own, with the name outside, from outside the mount's part, and with a group that is not to be seen.
        for (within, group) in
            [("/", "/"), ("/docker/abc", "/docker/abc"), ("/docker/abc", "/other"), ("/", "/../x"), ("/", "/gone")]
        {
            let mounts = format!("24 23 0:22 {within} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
            let groups = format!("0::{group}\n");
            let files = [MEMINFO, ("proc/self/mountinfo", &mounts), ("proc/self/cgroup", &groups)];
            let bound = least(&[&files[..], &limit].concat());
            assert_eq!(
                (bound.left, bound.name.as_str()),
                (2 << 20, "control group / (memory.max)"),
                "{within} {group}"
            );
        }
        let below = [
            MEMINFO,
            ("proc/self/mountinfo", "24 23 0:22 /d /sys/fs/cgroup\\040x ro - cgroup2 c rw\n"),
            ("proc/self/cgroup", "0::/d/e\n"),
        ];
        let inner = [("sys/fs/cgroup x/e/memory.max", "1048576\n"), ("sys/fs/cgroup x/e/memory.current", "0\n")];
        assert_eq!(least(&[&below[..], &inner].concat()).left, 1 << 20);
    }

    #[test]
    fn a_shells_limits_count() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             unlimited            unlimited            bytes\n\
                      Max address space         12582912             unlimited            bytes\n";
        let files = [
            MEMINFO,
            ("proc/self/limits", limits),
            ("proc/self/status", "VmPeak:\t 99 kB\nVmSize:\t    2048 kB\nVmData: 1024 kB\n"),
        ];
        let bound = least(&files);
        assert_eq!(
            (bound.left, bound.words()),
            (10 << 20, "10 MiB are left of 12 MiB, the limit of address space (ulimit -v)".into())
        );
        let data = limits.replace("Max data size             unlimited ", "Max data size             2097152 ");
        let bound = least(&[MEMINFO, ("proc/self/limits", &data), files[2]]);
        assert_eq!((bound.left, bound.name.as_str()), (1 << 20, "data (ulimit -d)"));
        assert_eq!(bounds(machine(&[]).path()), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some_memory_left() {
        let bound = memory().unwrap();
        assert!(bound.left > 0 && bound.left <= machine::memory("MemAvailable").unwrap() + (1 << 30));
        assert!(require(1, "").is_ok() && require(u128::MAX, "x").is_err());
    }

    #[test]
    fn threads_are_the_least_that_anything_allows() {
        let threads = |may, allowed, online, slurm| {
            let Threads { count, why } = threads_of(may, allowed, online, slurm);
            (count, why)
        };
        assert_eq!(threads(8, Some(8), Some(8), None), (8, "all processors"));
        assert_eq!(threads(8, None, None, None), (8, "all processors"));
        assert_eq!(threads(4, Some(4), Some(8), None), (4, "the processors that this process may use"));
        assert_eq!(threads(2, Some(4), Some(8), None), (2, "the control group's processor quota"));
        assert_eq!(threads(8, Some(8), Some(8), Some("3")), (3, "SLURM_CPUS_PER_TASK"));
        // On a login node, or with a step's own list: what is there bounds it, and what is no number says nothing.
        for word in ["8", "64", "0", "", "-1", "many", "2(x3)", "1.5"] {
            assert_eq!(threads(8, Some(8), Some(8), Some(word)), (8, "all processors"), "{word}");
        }
        assert_eq!(
            [listed("0-3,8\n"), listed("5"), listed("0-1,4-5"), listed("3-1"), listed("x")],
            [Some(5), Some(1), Some(4), None, None]
        );
    }
}
