//! Tests of downloads from a misbehaving server on this machine.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// What the server does with one connection. It gets the first byte of the requested `Range`, if any, and the stream to answer on.
type Answer = Box<dyn FnOnce(Option<usize>, &mut TcpStream) + Send>;

/// A server that answers one connection after another and then is gone. Joining its thread gives the requested ranges.
fn serve(answers: Vec<Answer>) -> (String, JoinHandle<Vec<Option<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(|line| line.ok());
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let range = lines
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
            asked.push(range);
            answer(range, &mut stream);
        }
        asked
    });
    (url, server)
}

/// Sends what is requested, but closes the connection after `bytes` bytes.
fn honest(bytes: usize) -> Answer {
    Box::new(move |range, stream| {
        let (start, all) = (range.unwrap_or(0), payload());
        let head = match range {
            Some(start) => {
                format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", all.len() - 1, all.len())
            }
            None => "200 OK".into(),
        };
        let rest = &all[start..];
        write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", rest.len()).unwrap();
        stream.write_all(&rest[..bytes.min(rest.len())]).unwrap();
    })
}

/// Sends the given answer and closes the connection.
fn fixed(head: &'static str, body: Vec<u8>) -> Answer {
    Box::new(move |_, stream| {
        // A client that has seen enough may be gone.
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        let _ = stream.write_all(&body);
    })
}

/// Keeps the connection open in silence until the client gives up.
fn silent() -> Answer {
    Box::new(|_, stream| drop(std::io::copy(stream, &mut std::io::sink())))
}

fn payload() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn wanted() -> Wanted {
    let md5 = md5_reader(&payload()[..]).unwrap();
    Wanted { name: "file.tar.gz", bytes: payload().len() as u64, md5: md5.leak() }
}

const HASTE: Patience = Patience {
    connect: Duration::from_secs(10),
    read: Duration::from_millis(300),
    tries: 4,
    pause: Duration::from_millis(1),
};

/// An environment that names no proxy.
fn no_proxy(_: &str) -> Option<OsString> {
    None
}

fn get(url: &str, to: &Path) -> Result<PathBuf> {
    fetch_file(wanted(), url, to, (HASTE, &no_proxy), &mut |_, _| (), &AtomicBool::new(false))
}

/// The names in a folder, except the lock file's, which stays there.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != crate::files::lock::NAME);
    names.sort();
    names
}

#[test]
fn a_file_is_fetched_whole_and_only_once() {
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("new/folder");
    let (url, server) = serve(vec![honest(usize::MAX)]);
    let mut told = Vec::new();
    let place = fetch_file(
        wanted(),
        &url,
        &to,
        (HASTE, &no_proxy),
        &mut |now, all| told.push((now, all)),
        &AtomicBool::new(false),
    );
    assert_eq!(fs::read(place.unwrap()).unwrap(), payload());
    assert_eq!(server.join().unwrap(), [None]);
    assert_eq!(names(&to), ["file.tar.gz"]);
    assert!(told.is_sorted() && told.last() == Some(&(300_000, 300_000)));
    // The server is gone: nothing is asked of it again.
    assert!(get(&url, &to).is_ok());
}

#[test]
fn a_dropped_connection_is_resumed_where_it_stopped() {
    let to = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![honest(100_000), honest(50_000), honest(usize::MAX)]);
    let place = get(&url, to.path()).unwrap();
    assert_eq!(fs::read(place).unwrap(), payload());
    assert_eq!(server.join().unwrap(), [None, Some(100_000), Some(150_000)]);
}

#[test]
fn the_next_call_goes_on_where_the_last_one_gave_up() {
    let to = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![honest(1_000), fixed("503 Busy\r\nContent-Length: 0", vec![])]);
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.starts_with(&url) && message.contains("503") && message.contains("1000 bytes"), "{message}");
    server.join().unwrap();
    assert_eq!(names(to.path()), ["file.tar.gz.part"]);
    let (url, server) = serve(vec![honest(usize::MAX)]);
    assert_eq!(fs::read(get(&url, to.path()).unwrap()).unwrap(), payload());
    assert_eq!(server.join().unwrap(), [Some(1_000)]);
    assert_eq!(names(to.path()), ["file.tar.gz"]);
}

#[test]
fn tries_are_counted() {
    let to = tempfile::tempdir().unwrap();
    let (url, server) = serve((0..4).map(|_| honest(1_000)).collect());
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.contains("the 4000 bytes that arrived are kept") && !message.contains('\n'), "{message}");
    assert_eq!(server.join().unwrap().len(), 4);
}

#[test]
fn a_server_without_ranges_or_with_another_range_starts_again() {
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("file.tar.gz.part"), b"anything").unwrap();
    let (url, server) = serve(vec![fixed("200 OK\r\nContent-Length: 300000", payload())]);
    assert_eq!(fs::read(get(&url, to.path()).unwrap()).unwrap(), payload());
    assert_eq!(server.join().unwrap(), [Some(8)]);

    for refusal in ["206 Partial Content\r\nContent-Range: bytes 5-9/300000", "416 Range Not Satisfiable"] {
        let to = tempfile::tempdir().unwrap();
        fs::write(to.path().join("file.tar.gz.part"), b"anything").unwrap();
        let (url, server) = serve(vec![fixed(refusal, vec![]), honest(usize::MAX)]);
        assert_eq!(fs::read(get(&url, to.path()).unwrap()).unwrap(), payload());
        assert_eq!(server.join().unwrap(), [Some(8), None]);
    }
    // More than the whole file has arrived: that can be no part of it.
    fs::remove_file(to.path().join("file.tar.gz")).unwrap();
    fs::write(to.path().join("file.tar.gz.part"), vec![0; 300_001]).unwrap();
    let (url, server) = serve(vec![honest(usize::MAX)]);
    assert!(get(&url, to.path()).is_ok());
    assert_eq!(server.join().unwrap(), [None]);
}

#[test]
fn wrong_bytes_are_removed_and_named_by_their_sum() {
    let to = tempfile::tempdir().unwrap();
    let mut wrong = payload();
    wrong[7] ^= 1;
    let (url, _server) = serve(vec![fixed("200 OK\r\nContent-Length: 300000", wrong.clone())]);
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.contains(wanted().md5) && message.contains(&md5_reader(&wrong[..]).unwrap()), "{message}");
    assert_eq!(names(to.path()).len(), 0);
}

#[test]
fn another_size_is_refused_before_and_while_it_comes() {
    for head in [
        "200 OK\r\nContent-Length: 300001",
        "200 OK\r\nContent-Length: 99999999999999",
        "200 OK\r\nContent-Length: 5",
        "206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4",
    ] {
        let to = tempfile::tempdir().unwrap();
        let (url, _server) = serve(vec![fixed(head, vec![0; 300_001])]);
        let message = get(&url, to.path()).unwrap_err().to_string();
        assert!(message.contains("bytes, not the 300000 of file.tar.gz"), "{message}");
    }
    // Without a declared length.
    let to = tempfile::tempdir().unwrap();
    let (url, _server) = serve(vec![fixed("200 OK\r\nConnection: close", vec![0; 2_000_000])]);
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.contains("sends more than the 300000 bytes"), "{message}");
    assert_eq!(names(to.path()).len(), 0, "nothing of it is kept");
}

#[test]
fn an_answer_that_is_no_file_is_told() {
    let to = tempfile::tempdir().unwrap();
    let (url, _server) = serve(vec![fixed("404 Not Found\r\nContent-Length: 2", b"no".to_vec())]);
    let error = get(&url, to.path()).unwrap_err();
    assert!(error.to_string().contains("the server answers 404 Not Found"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_an_error_in_time() {
    let to = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![]);
    server.join().unwrap();
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.contains("cannot be fetched (") && !message.contains('\n'), "{message}");
    let (url, _server) = serve(vec![silent()]);
    let message = get(&url, to.path()).unwrap_err().to_string();
    assert!(message.contains("timeout"), "{message}");
    // Silence in the middle of the file: what came is kept, and the next connection goes on.
    let half: Answer = Box::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n").unwrap();
        stream.write_all(&payload()[..1234]).unwrap();
        silent()(None, stream);
    });
    let (url, server) = serve(vec![half, honest(usize::MAX)]);
    assert_eq!(fs::read(get(&url, to.path()).unwrap()).unwrap(), payload());
    assert_eq!(server.join().unwrap(), [None, Some(1234)]);
    for url in ["", "no address", "ftp://127.0.0.1/x"] {
        let error = get(url, &to.path().join("other")).unwrap_err();
        assert!(error.exit_code() == 2 && !error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn a_download_stops_when_told_and_keeps_what_came() {
    let to = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    // Told between two pieces; told while the server says nothing.
    let (url, _server) = serve(vec![honest(usize::MAX)]);
    let mut progress = |_, _| stop.store(true, Ordering::Relaxed);
    let error = fetch_file(wanted(), &url, to.path(), (HASTE, &no_proxy), &mut progress, &stop).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    assert!(fs::metadata(to.path().join("file.tar.gz.part")).unwrap().len() > 0);

    stop.store(false, Ordering::Relaxed);
    let patient = Patience { read: Duration::from_secs(600), ..HASTE };
    let (url, _server) = serve(vec![silent()]);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        fetch_file(wanted(), &url, to.path(), (patient, &no_proxy), &mut |_, _| (), &stop).unwrap_err()
    });
    assert!(matches!(error, Error::Interrupted));
}

#[test]
fn another_file_of_that_name_is_not_overwritten() {
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("file.tar.gz"), b"mine").unwrap();
    let message = get("http://127.0.0.1:1/", to.path()).unwrap_err().to_string();
    assert!(message.contains("file.tar.gz: is there") && message.contains("move it away"), "{message}");
    assert_eq!(fs::read(to.path().join("file.tar.gz")).unwrap(), b"mine");
}

#[test]
fn a_proxy_that_is_gone_or_refuses_is_named_without_its_secrets() {
    let to = tempfile::tempdir().unwrap();
    let through = |proxy: &str, url: &str| {
        let environment = |name: &str| (name == "all_proxy").then(|| OsString::from(proxy));
        let stop = AtomicBool::new(false);
        fetch_file(wanted(), url, to.path(), (HASTE, &environment), &mut |_, _| (), &stop)
    };
    // A port that was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (refuses, server) = serve(vec![fixed("407 Proxy Authentication Required\r\nContent-Length: 0", vec![])]);
    let refuses = refuses.strip_prefix("http://").unwrap().strip_suffix("/file").unwrap();
    for (place, says) in [(gone.to_string(), "refused"), (refuses.to_owned(), "407")] {
        let error =
            through(&format!("http://user:secret@{place}"), "https://user:secret@localhost:1/file").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("https://localhost:1/file: ") && message.contains(says), "{message}");
        assert!(message.contains(&format!("through the proxy http://{place}, which all_proxy names")), "{message}");
        assert!(message.contains("unset all_proxy") && !message.contains("secret"), "{message}");
    }
    server.join().unwrap();
    let message = through("http://user:secret@host:port", "https://localhost:1/file").unwrap_err().to_string();
    assert!(message.starts_with("all_proxy: is no address") && !message.contains("secret"), "{message}");
    assert_eq!(names(to.path()).len(), 0, "nothing is left of it");
}

#[test]
fn a_file_comes_through_a_proxy() {
    let to = tempfile::tempdir().unwrap();
    // It is asked for a connection, says that there is one, and is then the server itself.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(|line| line.ok());
        let mut head = || lines.by_ref().take_while(|line| !line.is_empty()).collect::<Vec<_>>();
        let asked = head();
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
        head();
        honest(usize::MAX)(None, &mut stream);
        asked
    });
    let environment = |name: &str| (name == "HTTP_PROXY").then(|| format!("http://user:word@{address}").into());
    let place = fetch_file(
        wanted(),
        "http://nowhere.invalid/file",
        to.path(),
        (HASTE, &environment),
        &mut |_, _| (),
        &AtomicBool::new(false),
    );
    assert_eq!(fs::read(place.unwrap()).unwrap(), payload());
    let asked = proxy.join().unwrap();
    assert!(asked[0].starts_with("CONNECT nowhere.invalid:80 "), "{asked:?}");
    // user:word
    assert!(asked.iter().any(|line| line.ends_with("Basic dXNlcjp3b3Jk")), "{asked:?}");
}
