use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// A request without a body.
pub(crate) struct Request {
    /// What is asked for, with what stands behind `?`.
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut lines = BufReader::new(stream.try_clone()?)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        let path = lines
            .next()
            .and_then(|line| line.split(' ').nth(1).map(String::from))
            .unwrap_or_default();
        let header = |line: String| {
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_string()))
        };
        Ok(Request { path, headers: lines.filter_map(header).collect() })
    }

    /// First byte, and last where there is one, of the range that is asked for.
    pub(crate) fn range(&self) -> Option<(usize, Option<usize>)> {
        let (start, end) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().unwrap(), end.parse().ok()))
    }
}

/// Starts a server of one request a connection; gives its address.
pub(crate) fn serve(
    answer: impl Fn(&Request, TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, stream) = (answer.clone(), stream.unwrap());
            // A client that was killed is no failure of the server.
            std::thread::spawn(move || {
                drop(Request::read(&stream).and_then(|request| answer(&request, stream)))
            });
        }
    });
    endpoint
}

/// Status line and headers of an answer; `more` are headers, each with its line end.
pub(crate) fn head(status: &str, more: &str, n: usize) -> String {
    format!("HTTP/1.1 {status}\r\n{more}content-length: {n}\r\nconnection: close\r\n\r\n")
}

/// Makes a command reach the server, whatever the machine reaches others by.
pub(crate) fn without_proxies(command: &mut Command) {
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    {
        command.env_remove(name);
    }
}
