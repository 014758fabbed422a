//! Requests of HTTP at a door that speaks lines: a web page must not command a server, and whoever
//! means a web server is told soonest by a closed connection.

/// The methods of HTTP/1.1 (RFC 9110, RFC 5789), and what an HTTP/2 client begins with.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
];

/// Whether a line begins like an HTTP request, or like the one header that every request has.
pub(crate) fn is_request(line: &str) -> bool {
    let is_host = |name: &[u8]| name.eq_ignore_ascii_case(b"host:");
    line.as_bytes()
        .first_chunk::<5>()
        .is_some_and(|name| is_host(name))
        || line.split_once(' ').is_some_and(|(word, target)| {
            METHODS.contains(&word)
                && (target.starts_with(['/', '*'])
                    || target.contains("HTTP/")
                    || target.contains("://"))
        })
}
