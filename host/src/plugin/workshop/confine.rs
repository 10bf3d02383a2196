//! What a child process gives up before it reads what it is to work on: files, processes, the network, time without end.
//!
//! A child that cannot confine itself does no work.

#[cfg(target_os = "linux")]
pub(in crate::plugin) use linux::{confine, let_go};

/// What the child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Use {
    /// Runs a guest: machine code is made and run.
    Guest,
    /// Makes machine code and runs none.
    Compiler,
    /// Runs a guest, as long as the host wants: makes no machine code, and maps the memory that it begins with.
    Server,
}

#[cfg(not(target_os = "linux"))]
pub(in crate::plugin) fn let_go() -> Result<(), String> {
    Err("this system has no seccomp".to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(in crate::plugin) fn confine(_: Use) -> Result<(), String> {
    let_go()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;
    use std::fs;

    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, Scope};
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
    use rustix::thread::set_no_new_privs;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch, apply_filter_all_threads,
    };

    use super::Use;
    use crate::limits::{PLUGIN_CHILD_CPU_SECONDS_MAX, PLUGIN_CHILD_DATA_BYTES_MAX};

    /// Of the main thread, which may be unlimited: what systems usually give.
    const STACK_BYTES_MAX: u64 = 8 * 1024 * 1024;

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    /// Lets go of what came from the parent, first of all: its files, and a life that is longer than its own.
    ///
    /// # Errors
    /// In words, what the system refuses.
    pub(in crate::plugin) fn let_go() -> Result<(), String> {
        let refused = set_parent_process_death_signal(Some(Signal::KILL));
        refused.map_err(|error| format!("cannot end with its parent: {error}"))?;
        close_inherited().map_err(|error| format!("cannot see its open files: {error}"))
    }

    /// Confines all threads of this process, for good.
    ///
    /// # Errors
    /// In words, what the system refuses.
    pub(in crate::plugin) fn confine(purpose: Use) -> Result<(), String> {
        let refused = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
        set_no_new_privs(true).map_err(refused("cannot give up privileges"))?;
        give_up_files_and_network().map_err(|error| format!("cannot give up files and network: {error}"))?;
        let is_forever = |resource: Resource| purpose == Use::Server && resource == Resource::Cpu;
        for (resource, bound, bound_max) in LIMITS.into_iter().filter(|(resource, ..)| !is_forever(*resource)) {
            let found = getrlimit(resource);
            let limit = Rlimit { current: tighter(found.current, bound), maximum: tighter(found.maximum, bound_max) };
            setrlimit(resource, limit).map_err(refused("cannot limit itself"))?;
        }
        let program = filter(purpose).map_err(|error| format!("has no filter of system calls: {error}"))?;
        apply_filter_all_threads(&program).map_err(|error| format!("cannot filter its system calls: {error}"))
    }

    /// By Landlock, of this thread, on which guests run. The filter of system calls leaves no way to either; this holds
    /// where the filter has a hole. A kernel that has no Landlock, or an older one, gives up what it can.
    fn give_up_files_and_network() -> Result<(), RulesetError> {
        let nothing_allowed = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?
            .scope(Scope::from_all(ABI::V6))?;
        nothing_allowed.create()?.restrict_self().map(drop)
    }

    /// What it may use, and what it could raise that to. At the first of CPU time comes a signal that tells what it was,
    /// at the second one that does not.
    ///
    /// Address space has no limit: wasmtime reserves it generously and uses little.
    const LIMITS: [(Resource, u64, u64); 6] = [
        (Resource::Cpu, PLUGIN_CHILD_CPU_SECONDS_MAX, PLUGIN_CHILD_CPU_SECONDS_MAX + 1),
        (Resource::Data, PLUGIN_CHILD_DATA_BYTES_MAX, PLUGIN_CHILD_DATA_BYTES_MAX),
        (Resource::Stack, STACK_BYTES_MAX, STACK_BYTES_MAX),
        (Resource::Nofile, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
    ];

    /// A limit that the host was started under stays where it is the tighter one: it could not be raised anyway.
    fn tighter(found: Option<u64>, bound: u64) -> Option<u64> {
        Some(found.map_or(bound, |found| found.min(bound)))
    }

    /// The host opens its files so that no child gets them; what the host itself was started with may come through.
    fn close_inherited() -> std::io::Result<()> {
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
        let open: Vec<i32> = fs::read_dir("/proc/self/fd")?.filter_map(|entry| number(entry.ok()?)).collect();
        for file in open.into_iter().filter(|file| *file > 2) {
            // The folder's own is closed already.
            let _ = nix::unistd::close(file);
        }
        Ok(())
    }

    /// Everything else fails as not permitted. It does not kill: what the C library tries on the side differs from one to
    /// the next, and it copes with a refusal.
    fn filter(purpose: Use) -> Result<BpfProgram, seccompiler::Error> {
        let mut rules: Rules = ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
        rules.insert(libc::SYS_read, vec![when(&[argument(0, SeccompCmpOp::Eq, 0)?])?]);
        rules.insert(
            libc::SYS_write,
            vec![when(&[argument(0, SeccompCmpOp::Eq, 1)?])?, when(&[argument(0, SeccompCmpOp::Eq, 2)?])?],
        );
        let not_executable = argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
        let (mapped, protected) = match purpose {
            Use::Guest => (vec![private(libc::MAP_ANONYMOUS)?], Vec::new()),
            Use::Compiler => {
                (vec![private(libc::MAP_ANONYMOUS)?, not_executable.clone()], vec![when(&[not_executable])?])
            }
            Use::Server => (vec![private(0)?, not_executable.clone()], vec![when(&[not_executable])?]),
        };
        if purpose == Use::Server {
            rules.insert(libc::SYS_ioctl, vec![when(&[argument(1, SeccompCmpOp::Eq, PAGEMAP_SCAN)?])?]);
        }
        rules.insert(libc::SYS_mmap, vec![when(&mapped)?]);
        rules.insert(libc::SYS_mprotect, protected);
        let architecture = TargetArch::try_from(ARCH)?;
        let refused = SeccompAction::Errno(libc::EPERM as u32);
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?;
        Ok(filter.try_into()?)
    }

    /// Flags of a mapping that the limit of data counts: what is shared, and what grows downwards, it does not.
    fn private(also: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
        let looked_at = libc::MAP_TYPE | libc::MAP_GROWSDOWN | also;
        argument(3, SeccompCmpOp::MaskedEq(looked_at as u64), (libc::MAP_PRIVATE | also) as u64)
    }

    fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
    }

    fn when(conditions: &[SeccompCondition]) -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(conditions.to_vec())
    }

    /// Which pages a guest has written to: `_IOWR('f', 16, struct pm_scan_arg)` of linux/fs.h. By it the pool finds what
    /// it has to put back.
    const PAGEMAP_SCAN: u64 = 0xC060_6610;

    /// Memory, locks and waiting, traps of the guest, the thread's CPU clock, and the end. Nothing opens, starts or connects.
    /// Nor is a mapping made larger (`mremap`), since one of the stack is not counted: the C library copies then.
    const ALWAYS: &[i64] = &[
        libc::SYS_munmap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_close,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        // Writing code on aarch64 needs the other cores to see it.
        libc::SYS_membarrier,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    #[cfg(test)]
    mod tests {
        use super::*;

        /// What the kernel makes of a call under a filter: the few kinds of instructions that filters here are made of.
        fn is_allowed(program: &BpfProgram, call: i64, arguments: [u64; 6]) -> bool {
            let architecture = if ARCH == "aarch64" { 0xC000_00B7 } else { 0xC000_003E };
            // `struct seccomp_data`: number, architecture, the caller's place, arguments.
            let mut data = vec![call as u32, architecture, 0, 0];
            data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]));
            let (mut held, mut next) = (0, 0);
            loop {
                let at = &program[next];
                let jump = |is_so: bool| if is_so { at.jt.into() } else { at.jf.into() };
                next += 1 + match at.code {
                    0x20 => {
                        held = data[at.k as usize / 4];
                        0
                    }
                    0x54 => {
                        held &= at.k;
                        0
                    }
                    0x05 => at.k as usize,
                    0x15 => jump(held == at.k),
                    0x25 => jump(held > at.k),
                    0x35 => jump(held >= at.k),
                    0x06 => return at.k == libc::SECCOMP_RET_ALLOW,
                    other => panic!("an instruction of another kind: {other:#x}"),
                };
            }
        }

        fn maps(purpose: Use, protection: i32, flags: i32) -> bool {
            let arguments = [0, 4096, protection as u64, flags as u64, u64::MAX, 0];
            is_allowed(&filter(purpose).unwrap(), libc::SYS_mmap, arguments)
        }

        #[test]
        fn no_memory_is_mapped_that_the_limit_of_data_does_not_count() {
            const DATA: i32 = libc::PROT_READ | libc::PROT_WRITE;
            const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            for purpose in [Use::Guest, Use::Compiler, Use::Server] {
                assert!(maps(purpose, DATA, PRIVATE) && maps(purpose, DATA, PRIVATE | libc::MAP_FIXED));
                assert!(!maps(purpose, DATA, PRIVATE | libc::MAP_GROWSDOWN), "{purpose:?}");
                for shared in [libc::MAP_SHARED, libc::MAP_SHARED_VALIDATE] {
                    assert!(!maps(purpose, DATA, shared | libc::MAP_ANONYMOUS), "{purpose:?}");
                    assert!(!maps(purpose, DATA, shared), "{purpose:?}");
                }
                let is_mapped_from_files = maps(purpose, DATA, libc::MAP_PRIVATE);
                assert_eq!(is_mapped_from_files, purpose == Use::Server);
                assert!(!is_allowed(&filter(purpose).unwrap(), libc::SYS_mremap, [0; 6]));
                assert_eq!(maps(purpose, libc::PROT_EXEC, PRIVATE), purpose == Use::Guest);
            }
        }
    }
}
