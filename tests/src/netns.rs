//! Network namespaces for tests and the emulator: a server end without a way out, joined by veth to the caller's end.
//!
//! Made with `ip`, named `sonde-…`, deleted when the [`Lab`] goes. Addresses are from the ranges for documentation, and the
//! server end drops what is not for it, so nothing that is sent into a lab can leave it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prefix of every namespace that we make; `guard` lets calls go only into such.
pub const PREFIX: &str = "sonde-";

/// Labs that one machine can hold at once: each takes four IPv4 addresses of a /24.
const MAX_LABS: u8 = 62;

/// Where a lab notes whose it is, so that the next one can clear up after one that was killed.
const OWNERS: &str = "/run/sonde-emulate";

/// Where the caller's end of a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// In the namespace of whoever makes the lab.
    Here,
    /// In a namespace of its own.
    Apart,
}

/// Two ends joined by veth; gone when dropped.
#[derive(Debug)]
pub struct Lab {
    number: u8,
    caller: Caller,
}

impl Lab {
    /// Makes one.
    ///
    /// # Errors
    /// What `ip` says, mostly that this needs privilege.
    pub fn new(caller: Caller) -> io::Result<Self> {
        fs::create_dir_all(OWNERS)?;
        sweep();
        for number in 0..MAX_LABS {
            // Making the file is what takes the number: it fails if another lab has it.
            let mut options = fs::OpenOptions::new();
            match options.write(true).create_new(true).open(owner_file(number)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
                Ok(mut file) => io::Write::write_all(&mut file, std::process::id().to_string().as_bytes())?,
            }
            let lab = Self { number, caller };
            lab.build()?;
            // Someone else on this machine may use these addresses: then another number's may be free.
            if lab.leads_in()? {
                return Ok(lab);
            }
        }
        Err(io::Error::other("every number of a lab is taken"))
    }

    fn build(&self) -> io::Result<()> {
        let server = self.server_namespace();
        let (near, far) = (self.interface(), "lan0");
        ip(&["netns", "add", &server])?;
        match self.caller_namespace() {
            None => ip(&["link", "add", &near, "type", "veth", "peer", "name", far, "netns", &server])?,
            Some(caller) => {
                ip(&["netns", "add", &caller])?;
                ip(&["-n", &caller, "link", "set", "lo", "up"])?;
                let peer = ["type", "veth", "peer", "name", far, "netns", &server];
                ip(&[&["link", "add", &near, "netns", &caller][..], &peer].concat())?;
            }
        }
        // Not even a default of the machine may make the server end pass packets on.
        for key in ["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"] {
            run(Command::new("ip").args(["netns", "exec", &server, "sysctl", "-qw", key]))?;
        }
        ip(&["-n", &server, "link", "set", "lo", "up"])?;
        self.dress(&Some(server.clone()), far, self.server(4), self.server(6))?;
        self.dress(&self.caller_namespace(), &near, self.local(4), self.local(6))?;
        for address in ["203.0.113.250/32", "203.0.113.251/32", "203.0.113.252/32"] {
            // More destinations for rotation; the same in every lab, so only a lab apart has a way there.
            ip(&["-n", &server, "address", "add", address, "dev", "lo"])?;
        }
        for family in [4, 6] {
            let hole = format!("{}/{}", self.black_hole(family), if family == 4 { 32 } else { 128 });
            let via = self.server(family).to_string();
            self.near_ip(&[flag(family), "route", "add", &hole, "via", &via, "dev", &near])?;
            ip(&["-n", &server, flag(family), "route", "add", "blackhole", &hole])?;
        }
        if self.caller == Caller::Apart {
            let via = self.server(4).to_string();
            self.near_ip(&["route", "add", "203.0.113.248/29", "via", &via, "dev", &near])?;
        }
        Ok(())
    }

    /// Whether what is sent to the lab's addresses goes into it.
    fn leads_in(&self) -> io::Result<bool> {
        for family in [4, 6] {
            for address in [self.server(family), self.black_hole(family)] {
                let mut command = self.at_caller(Path::new("ip"));
                let output = command.args(["route", "get", &address.to_string()]).output()?;
                let route = String::from_utf8_lossy(&output.stdout).into_owned();
                if !output.status.success() || !route.contains(&format!("dev {} ", self.interface())) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn dress(&self, namespace: &Option<String>, link: &str, v4: IpAddr, v6: IpAddr) -> io::Result<()> {
        let within = |arguments: &[&str]| match namespace {
            Some(name) => ip(&[&["-n", name][..], arguments].concat()),
            None => ip(arguments),
        };
        within(&["address", "add", &format!("{v4}/30"), "dev", link])?;
        within(&["-6", "address", "add", &format!("{v6}/64"), "dev", link, "nodad"])?;
        within(&["link", "set", link, "up"])
    }

    fn near_ip(&self, arguments: &[&str]) -> io::Result<()> {
        match self.caller_namespace() {
            Some(name) => ip(&[&["-n", &name][..], arguments].concat()),
            None => ip(arguments),
        }
    }

    /// The caller's link.
    #[must_use]
    pub fn interface(&self) -> String {
        format!("sonde{}", self.number)
    }

    /// Name of the server's namespace.
    #[must_use]
    pub fn server_namespace(&self) -> String {
        format!("{PREFIX}{}-server", self.number)
    }

    /// Name of the caller's namespace, if it has one of its own.
    #[must_use]
    pub fn caller_namespace(&self) -> Option<String> {
        (self.caller == Caller::Apart).then(|| format!("{PREFIX}{}-caller", self.number))
    }

    /// The server's address of a family (4 or 6).
    #[must_use]
    pub fn server(&self, family: u8) -> IpAddr {
        self.address(family, 1)
    }

    /// The caller's address of a family.
    #[must_use]
    pub fn local(&self, family: u8) -> IpAddr {
        self.address(family, 2)
    }

    /// An address whose packets vanish without an answer.
    #[must_use]
    pub fn black_hole(&self, family: u8) -> IpAddr {
        if family == 4 {
            Ipv4Addr::new(198, 51, 100, self.number + 129).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0xb1ac, u16::from(self.number), 0, 0, 0, 1).into()
        }
    }

    fn address(&self, family: u8, host: u8) -> IpAddr {
        if family == 4 {
            Ipv4Addr::new(203, 0, 113, self.number * 4 + host).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0x50de, u16::from(self.number), 0, 0, 0, host.into()).into()
        }
    }

    /// A command in the server's namespace.
    #[must_use]
    pub fn at_server(&self, program: &Path) -> Command {
        within(&self.server_namespace(), program)
    }

    /// A command at the caller's end.
    #[must_use]
    pub fn at_caller(&self, program: &Path) -> Command {
        match self.caller_namespace() {
            Some(name) => within(&name, program),
            None => Command::new(program),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(self.number);
    }
}

const fn flag(family: u8) -> &'static str {
    if family == 4 { "-4" } else { "-6" }
}

/// A command in a named namespace. `nsenter` becomes the program, so its process id is the child's; unlike `ip netns exec`
/// it leaves the mounts alone.
fn within(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
    command
}

fn owner_file(number: u8) -> PathBuf {
    Path::new(OWNERS).join(number.to_string())
}

/// Deletes what a lab of this number has left. Its veth goes with either end.
fn remove(number: u8) {
    let _ = ip(&["link", "delete", &format!("sonde{number}")]);
    for end in ["server", "caller"] {
        let name = format!("{PREFIX}{number}-{end}");
        if Path::new("/run/netns").join(&name).exists() {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
    let _ = fs::remove_file(owner_file(number));
}

/// Removes the labs of processes that are no more.
pub fn sweep() {
    for number in 0..MAX_LABS {
        let Ok(owner) = fs::read_to_string(owner_file(number)) else { continue };
        // An empty file is one that is being written just now.
        if owner.parse::<u32>().is_ok_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(number);
        }
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", said.trim())))
}
