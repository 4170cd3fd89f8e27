//! Downloads CIFAR-10. A stopped download is resumed, and the file is checked before it gets its name.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};

use super::proxy::{self, Through, without_credentials};
use crate::files::disk::create_dir_all;
use crate::files::hash::{md5_file, md5_reader};
use crate::files::lock::FolderLock;
use crate::files::lookup::{Kind, kind};
use crate::files::part::Part;
use crate::{Error, Result};

/// Where the archive is published.
pub const URL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";

/// A file whose content is known before it is downloaded.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    name: &'static str,
    bytes: u64,
    md5: &'static str,
}

/// The archive of the binary version, as its page describes it.
const CIFAR10: Wanted =
    Wanted { name: "cifar-10-binary.tar.gz", bytes: 170_052_171, md5: "c32a1d4ab5d03f1284b67883e8d87530" };

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// The longest time for each of finding the server, connecting to it, and sending a request.
    connect: Duration,
    /// The longest time to wait for the answer, and then for each further piece of it.
    read: Duration,
    /// The most connections, provided that each but the last received something.
    tries: u32,
    /// The pause between two connections.
    pause: Duration,
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(15),
    read: Duration::from_secs(30),
    tries: 10,
    pause: Duration::from_secs(1),
};

/// Downloads `cifar-10-binary.tar.gz` from `url` into the folder `to` and returns the file's path. The folder is created where it is
/// missing. If the right file is already there, it is left alone.
///
/// The arriving bytes are stored in `cifar-10-binary.tar.gz.part`. After a dropped connection, and in the next call, the download continues
/// from the end of that file. Size and MD5 are checked before the file gets its final name. `progress` is called with the number of bytes
/// that have arrived and the total. When `stop` becomes true, the download ends within a moment (or within 15 s while a connection is being
/// made). The connection goes through the proxy that `https_proxy`, `all_proxy` or `http_proxy` names, in lower or upper case, except for
/// servers that `no_proxy` names.
///
/// # Errors
///
/// [`Error::Input`] where the server cannot be reached (the error names the proxy, if there is one), sends something else, or goes silent
/// for 30 s, where a proxy's address is malformed, and where another file has the name; [`Error::Io`] where the disk refuses;
/// [`Error::Interrupted`] after `stop`. The bytes that arrived are kept unless they are wrong.
pub fn fetch(url: &str, to: &Path, progress: &mut dyn FnMut(u64, u64), stop: &AtomicBool) -> Result<PathBuf> {
    fetch_file(CIFAR10, url, to, (PATIENCE, &|name| std::env::var_os(name)), progress, stop)
}

fn fetch_file(
    wanted: Wanted,
    url: &str,
    to: &Path,
    (patience, environment): (Patience, proxy::Environment),
    progress: &mut dyn FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<PathBuf> {
    let place = to.join(wanted.name);
    if already_there(wanted, &place)? {
        progress(wanted.bytes, wanted.bytes);
        return Ok(place);
    }
    let through = proxy::find(url, environment)?;
    create_dir_all(to)?;
    // Two downloads into one file would spoil each other.
    let _held = FolderLock::acquire(to)?;
    let mut part = Part::open(&place)?;
    let agent = agent(patience, through.as_ref());
    let finished = AtomicBool::new(false);
    let arrived = std::thread::scope(|scope| {
        // Reading blocks; this thread ends it by closing the connection.
        let watch = scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    return agent.clone().shutdown();
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        let result = Download { wanted, url, through, agent: &agent, part: &mut part, progress, stop }.run(patience);
        finished.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        result
    });
    if let Err(error) = arrived {
        if part.is_empty() {
            part.discard()?;
        }
        return Err(error);
    }
    let md5 = md5_reader(part.reader()?).map_err(|e| Error::io(part.path(), "read", e))?;
    if md5 != wanted.md5 {
        part.discard()?;
        let problem = format!("sent a file with MD5 {md5}, not {}, which was removed", wanted.md5);
        return Err(Error::input(without_credentials(url), problem, "try again, or give another --url"));
    }
    part.finish()?;
    Ok(place)
}

/// Whether the right file is already there. A wrong file is the user's, so it is not overwritten.
fn already_there(wanted: Wanted, place: &Path) -> Result<bool> {
    match kind(place)? {
        None => Ok(false),
        Some(Kind::File(bytes)) if bytes == wanted.bytes && md5_file(place)? == wanted.md5 => Ok(true),
        Some(_) => {
            let remedy = "move it away, or give another folder with --to";
            Err(Error::file(place, format!("is there, and is not the file of MD5 {}", wanted.md5), remedy))
        }
    }
}

fn agent(patience: Patience, through: Option<&Through>) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_send_request(Some(patience.connect))
        .timeout_recv_response(Some(patience.read))
        .timeout_per_read(Some(patience.read))
        .http_status_as_error(false)
        .user_agent(concat!("normscape/", env!("CARGO_PKG_VERSION")))
        // A part of a packed answer would be no part of the file.
        .accept_encoding("identity")
        .proxy(through.map(|through| through.proxy.clone()));
    config.build().into()
}

/// A download in progress.
struct Download<'a> {
    wanted: Wanted,
    url: &'a str,
    through: Option<Through>,
    agent: &'a Agent,
    part: &'a mut Part,
    progress: &'a mut dyn FnMut(u64, u64),
    stop: &'a AtomicBool,
}

/// How a connection ended.
enum Ended {
    /// All bytes are there.
    Whole,
    /// The connection ended early, for a reason that may pass.
    Early(String),
}

impl Download<'_> {
    /// Connects until all bytes have arrived. If a connection receives nothing, it is the last: without a network the error should not take
    /// ten timeouts.
    fn run(&mut self, patience: Patience) -> Result<()> {
        for remaining in (0..patience.tries).rev() {
            let before = self.part.len();
            let ended = self.connect();
            self.check_stop()?;
            let reason = match ended? {
                Ended::Whole => return Ok(()),
                Ended::Early(reason) => reason,
            };
            let now = self.part.len();
            if now == before || remaining == 0 {
                let kept = if now == 0 { String::new() } else { format!("; the {now} bytes that arrived are kept") };
                return Err(self.unreachable(&reason, &kept));
            }
            self.pause(patience.pause)?;
        }
        Err(self.wrong("cannot be fetched in no tries", "allow one at least"))
    }

    /// An error about what the address sends.
    fn wrong(&self, problem: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::input(without_credentials(self.url), problem, remedy)
    }

    /// The error when a connection received nothing more. It blames the proxy, if there is one.
    fn unreachable(&self, reason: &str, kept: &str) -> Error {
        let Some(through) = &self.through else {
            let remedy = format!("check the network, or give another --url{kept}");
            return self.wrong(format!("cannot be fetched ({reason})"), remedy);
        };
        let (address, variable) = (through.address(), through.variable);
        let problem = format!("cannot be fetched through the proxy {address}, which {variable} names ({reason})");
        self.wrong(problem, format!("check the proxy, unset {variable}, or name the server in NO_PROXY{kept}"))
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check_stop()?;
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
        Ok(())
    }

    /// Makes one connection: requests the missing bytes and appends what arrives.
    fn connect(&mut self) -> Result<Ended> {
        if self.part.len() > self.wanted.bytes {
            self.part.restart()?;
        }
        let have = self.part.len();
        if have == self.wanted.bytes {
            return Ok(Ended::Whole);
        }
        let mut request = self.agent.get(self.url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let answer = match request.call() {
            Ok(answer) => answer,
            Err(e) => return Ok(Ended::Early(one_line(&e))),
        };
        match answer.status() {
            StatusCode::OK => {
                self.check_size(length(answer.headers()))?;
                if have > 0 {
                    // The server does not send parts.
                    self.part.restart()?;
                }
            }
            StatusCode::PARTIAL_CONTENT => match range(answer.headers()) {
                Some((start, size)) if start == have => self.check_size(size)?,
                _ => return self.afresh("the server sent another part than was asked for"),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => return self.afresh("the server has less than what had arrived"),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Ended::Early(format!("the server answers {status}")));
            }
            status => {
                let problem = format!("cannot be fetched (the server answers {status})");
                return Err(self.wrong(problem, "give the archive's address with --url"));
            }
        }
        self.receive(&mut answer.into_body().into_reader())
    }

    /// Appends what `body` sends, up to the last expected byte and not beyond.
    fn receive(&mut self, body: &mut dyn Read) -> Result<Ended> {
        let mut piece = vec![0; 1 << 16];
        loop {
            self.check_stop()?;
            let n = match body.read(&mut piece) {
                Ok(0) if self.part.len() == self.wanted.bytes => return Ok(Ended::Whole),
                Ok(0) => return Ok(Ended::Early(format!("the connection closed at byte {}", self.part.len()))),
                Ok(n) => n,
                Err(e) => return Ok(Ended::Early(format!("at byte {}: {}", self.part.len(), one_line(&e)))),
            };
            if self.part.len() + n as u64 > self.wanted.bytes {
                self.part.restart()?;
                let problem = format!("sends more than the {} bytes of {}", self.wanted.bytes, self.wanted.name);
                return Err(self.wrong(problem, "give the archive's address with --url"));
            }
            self.part.append(&piece[..n])?;
            (self.progress)(self.part.len(), self.wanted.bytes);
        }
    }

    /// Discards the useless bytes that arrived; the next connection begins at byte 0.
    fn afresh(&mut self, reason: &str) -> Result<Ended> {
        self.part.restart()?;
        Ok(Ended::Early(reason.into()))
    }

    /// Refuses a file of another size before it is downloaded.
    fn check_size(&self, size: Option<u64>) -> Result<()> {
        match size {
            Some(size) if size != self.wanted.bytes => {
                let problem = format!("has {size} bytes, not the {} of {}", self.wanted.bytes, self.wanted.name);
                Err(self.wrong(problem, "give the archive's address with --url"))
            }
            _ => Ok(()),
        }
    }
}

/// The length that an answer declares.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The first byte in a header such as `Content-Range: bytes 7-9/10`, and the whole file's size where it is given.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (span, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()))
}

/// An error's text without line ends.
fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
