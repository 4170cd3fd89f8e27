//! The proxy of a download: which environment variable names it, and how messages refer to it.
//!
//! The HTTP library reads these variables too, but it ignores what it cannot read, and its errors do not say that a proxy was used. A proxy
//! that is gone is the usual reason why a download fails behind a firewall. So messages name the proxy and its variable, but leave out any
//! user and password in its address.

use std::ffi::OsString;

use ureq::Proxy;
use ureq::http::Uri;

use crate::{Error, Result};

/// Looks up environment variables by name.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variables that may name a proxy; those for HTTPS come first.
const NAMES: [[&str; 2]; 3] =
    [["https_proxy", "HTTPS_PROXY"], ["all_proxy", "ALL_PROXY"], ["http_proxy", "HTTP_PROXY"]];

/// A proxy, and the variable that named it.
#[derive(Debug, Clone)]
pub(super) struct Through {
    /// The proxy, as the connection takes it.
    pub proxy: Proxy,
    /// The variable's name.
    pub variable: &'static str,
}

impl Through {
    /// Scheme, host and port, for messages.
    pub fn address(&self) -> String {
        let scheme = self.proxy.uri().scheme_str().unwrap_or("http").to_ascii_lowercase();
        format!("{scheme}://{}:{}", self.proxy.host(), self.proxy.port())
    }
}

/// The proxy for fetching `url`: from the variable for its scheme, else from `ALL_PROXY`, else from the variable for the other scheme.
/// `None` where none is set, and for servers that `NO_PROXY` names.
///
/// # Errors
/// [`Error::Input`] naming the variable whose proxy cannot be read or is of an unsupported kind.
pub(super) fn find(url: &str, environment: Environment) -> Result<Option<Through>> {
    // What is no address is refused where it is fetched.
    let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
    let set = |name: &&'static str| environment(name).filter(|value| !value.is_empty());
    let mut names = NAMES;
    if uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) {
        names.reverse();
    }
    let Some((variable, value)) = names.as_flattened().iter().find_map(|name| Some((*name, set(name)?))) else {
        return Ok(None);
    };
    let but = ["no_proxy", "NO_PROXY"].iter().find_map(set).unwrap_or_default();
    if passes_by(&uri, &but.to_string_lossy())? {
        return Ok(None);
    }
    let proxy = value.to_str().and_then(|value| read(value.trim()));
    let proxy = proxy.ok_or_else(|| Error::input(variable, "is no address of a proxy", REMEDY))?;
    if !matches!(proxy.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
        let problem = format!("names a {} proxy, which downloads do not speak with", proxy.protocol());
        return Err(Error::input(variable, problem, REMEDY));
    }
    Ok(Some(Through { proxy, variable }))
}

const REMEDY: &str = "give http://HOST:PORT, unset it, or name the server in NO_PROXY";

/// Parses a proxy's address. `None` where it is malformed; the library would treat a port that is no number as no port.
fn read(value: &str) -> Option<Proxy> {
    let proxy = Proxy::new(value).ok()?;
    let authority = proxy.uri().authority()?;
    let place = authority.as_str().rsplit('@').next()?;
    let port = place.strip_prefix(authority.host())?;
    let whole = port.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    (whole && !authority.host().is_empty()).then_some(proxy)
}

/// Whether `NO_PROXY` exempts the server, by its name or by the name of a domain that contains it.
fn passes_by(uri: &Uri, but: &str) -> Result<bool> {
    let entries = but.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    let any = Proxy::builder(ureq::ProxyProtocol::Http);
    let any =
        entries.fold(any, |any, entry| any.no_proxy(entry).no_proxy(&format!(".{}", entry.trim_start_matches('.'))));
    let any = any.build().map_err(|e| Error::input("NO_PROXY", e.to_string(), "names of servers, parted by commas"))?;
    Ok(any.is_no_proxy(uri))
}

/// An address without the user and password that it may contain.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let place = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{place}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTPS: &str = "https://www.example.org/file";
    const HTTP: &str = "http://www.example.org/file";

    /// The variable and address that are found when these variables are set.
    fn found(url: &str, set: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let environment = |name: &str| set.iter().find(|(of, _)| *of == name).map(|(_, value)| OsString::from(value));
        find(url, &environment).unwrap().map(|through| (through.variable, through.address()))
    }

    #[test]
    fn the_variable_of_the_scheme_comes_first() {
        let [one, two, three] = ["http://one:1", "two:2", "https://three"];
        let (http, https, all) = (("http_proxy", one), ("HTTPS_PROXY", two), ("ALL_PROXY", three));
        for (url, set, variable, address) in [
            (HTTPS, &[http, all, https][..], "HTTPS_PROXY", "http://two:2"),
            (HTTPS, &[http, all], "ALL_PROXY", "https://three:443"),
            (HTTPS, &[http], "http_proxy", "http://one:1"),
            (HTTP, &[https, all, http], "http_proxy", "http://one:1"),
            (HTTP, &[https], "HTTPS_PROXY", "http://two:2"),
            // One that is set to nothing is not set.
            (HTTPS, &[("https_proxy", ""), http], "http_proxy", "http://one:1"),
        ] {
            assert_eq!(found(url, set), Some((variable, address.to_owned())), "{url} {set:?}");
        }
        assert_eq!(found(HTTPS, &[]), None);
        let credentials = ("ALL_PROXY", " http://user:p@ss@127.0.0.1:8080/ ");
        assert_eq!(found(HTTPS, &[credentials]), Some(("ALL_PROXY", "http://127.0.0.1:8080".into())));
    }

    #[test]
    fn servers_that_no_proxy_names_go_without() {
        for (but, goes_without) in [
            ("www.example.org", true),
            ("localhost, example.org", true),
            (".example.org", true),
            ("*", true),
            ("ample.org", false),
            ("example.com,127.0.0.1", false),
            ("", false),
        ] {
            let set = [("NO_PROXY", but), ("HTTPS_PROXY", "http://127.0.0.1:1")];
            assert_eq!(found(HTTPS, &set).is_none(), goes_without, "{but}");
        }
        // What is not used need not be right.
        assert_eq!(found(HTTPS, &[("no_proxy", "*"), ("HTTPS_PROXY", "::::")]), None);
    }

    #[test]
    fn a_malformed_proxy_is_named_without_its_secrets() {
        for value in [
            "http://",
            "://",
            "http://secret:word@",
            "http://secret:word@:80",
            "http://secret:word@host:port",
            "http://secret:word@host:99999",
            "http://host:",
            "http://ho st:80",
            "htp://secret:word@host:80",
            "socks5h://secret:word@127.0.0.1:9050",
        ] {
            let error = find(HTTPS, &|name| (name == "ALL_PROXY").then(|| value.into())).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("ALL_PROXY: ") && message.contains("http://HOST:PORT"), "{value}: {message}");
            assert!(!message.contains("secret") && !message.contains("word"), "{value}: {message}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("https://user:p@ss@host/a@b", "https://host/a@b"),
            ("http://host:80/a", "http://host:80/a"),
            ("http://user@host?x=@", "http://host?x=@"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
