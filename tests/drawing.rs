//! `replay --format`, from outside: real servers are recorded, and what they did is drawn.

mod server;

use chatroom_chat::{ChatServer, Config, MASTERS};
use chatroom_machine::{Machine, Remote, Time};
use chatroom_record::Recorder;
use server::{Server, chatroom, host, text};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio, id};
use std::rc::Rc;

/// A folder of one test alone, gone when the test is done with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("draw-{name}-{}", id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Records servers of a grid: 0 to `ids` of `n`. They say something, one is killed, and the
    /// others end in good order.
    fn record(&self, ids: u16, n: u16, name: &str) -> Vec<PathBuf> {
        let host = host();
        let files: Vec<PathBuf> = (0..ids)
            .map(|id| self.file(&format!("{name}{id}")))
            .collect();
        let mut servers: Vec<Server> = (0..ids)
            .map(|id| {
                let runtime = ["std", "smol"][usize::from(id) % 2];
                let file = files[usize::from(id)].display();
                Server::new(host, id, n, &format!("--runtime {runtime} --record {file}"))
            })
            .collect();
        let mut masters: Vec<_> = servers.iter().map(Server::master).collect();
        let all: Vec<String> = (0..ids).map(|id| id.to_string()).collect();
        for master in &mut masters {
            master.gets("alive", &format!("alive {}", all.join(",")));
        }
        masters[0].tells("broadcast hello, größer");
        for master in &mut masters {
            master.gets("get", "messages hello, größer");
        }
        let last = servers.last_mut().unwrap();
        last.signal("KILL");
        last.status();
        for server in &mut servers[..usize::from(ids) - 1] {
            server.signal("TERM");
            server.status();
        }
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn replay<'a>(files: impl IntoIterator<Item = &'a PathBuf>, options: &str) -> Output {
    let mut command = chatroom("replay");
    command.args(files).args(options.split_whitespace());
    command.output().unwrap()
}

fn drawn<'a>(files: impl IntoIterator<Item = &'a PathBuf>, options: &str) -> String {
    let output = replay(files, options);
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
    text(&output.stdout).to_owned()
}

/// What stands behind `"name":` in a line of JSON, up to the next comma or the end of its list.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    let end = match rest.strip_prefix('[') {
        Some(list) => return list.split(']').next(),
        None => rest.find([',', '}'])?,
    };
    Some(rest[..end].trim_matches('"'))
}

fn number(line: &str, name: &str) -> u64 {
    field(line, name).unwrap().parse().unwrap()
}

#[test]
fn three_servers_are_drawn_on_one_clock() {
    let folder = Folder::new("three");
    let files = folder.record(3, 3, "server");
    let json = drawn(&files, "--format json");
    let lines: Vec<&str> = json.lines().collect();
    let (mut crossed, mut came) = (0, Vec::new());
    for line in &lines {
        let lane = field(line, "lane").unwrap();
        if field(line, "kind") == Some("received") {
            // Every byte that came from a server is joined to where that one sent it, earlier.
            let from = field(line, "from").unwrap_or_else(|| panic!("{line} has no cause"));
            let from = from
                .split(',')
                .map(|each| lines[each.parse::<usize>().unwrap()]);
            for cause in from {
                assert!(number(cause, "at") <= number(line, "at"), "{cause}\n{line}");
                assert_eq!(field(cause, "lane"), field(line, "peer"));
                crossed += usize::from(lane.starts_with("server"));
            }
            if lane != "server0" && line.contains("msg 0 hello, größer") {
                came.push(lane);
            }
        }
    }
    came.sort_unstable();
    assert_eq!(came, ["server1", "server2"]);
    assert!(crossed > 10);
    for (lane, end) in [
        ("server0", "done"),
        ("server1", "done"),
        ("server2", "record-end"),
    ] {
        for kind in ["started", "dialling", "opened", "sent", "notice", end] {
            let is = |line: &&&str| {
                field(line, "lane") == Some(lane) && field(line, "kind") == Some(kind)
            };
            let dials = kind != "dialling" || lane != "server0";
            assert_eq!(lines.iter().find(is).is_some(), dials, "{lane} {kind}");
        }
    }
    let page = drawn(&files, "--format html");
    assert!(page.contains("<title>Recordings of servers 0, 1, 2 of 3</title>"));
    assert!(
        page.contains("3 found at both ends\""),
        "the links are counted"
    );
    assert!(page.contains("server2 (server2) was at zero at "));
    // The order of the files means nothing, and the same files give the same bytes.
    assert_eq!(drawn(files.iter().rev(), "--format html"), page);
    let out = folder.file("page.html");
    assert_eq!(
        drawn(&files, &format!("--format html --out {}", out.display())),
        ""
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), page);
    let picture = drawn(&files, "--format svg");
    for lane in ["server0", "server1", "server2", "client0/0"] {
        assert!(picture.contains(&format!(">{lane}</text>")), "{lane}");
    }
    assert!(picture.contains("msg 0 hello, größer"));
    let shiviz = drawn(&files, "--format shiviz");
    let knows = |line: &str| line.starts_with("server1 {") && line.contains("\"server0\":");
    assert!(shiviz.lines().any(knows), "{shiviz}");
}

#[test]
fn one_server_is_drawn_with_what_it_saw_of_the_others() {
    let folder = Folder::new("one");
    let files = folder.record(3, 3, "server");
    let text = drawn(&files[..1], "--format text");
    let has = |what: &str| text.lines().any(|line| line.contains(what));
    assert!(has("server0 started: recorded"), "{text}");
    assert!(
        has("server2 opened link") && has("as server0 saw it"),
        "{text}"
    );
    assert!(has("server1 sent link") && has("ping 1\\n"), "{text}");
    assert!(has("server0 received link"), "{text}");
    assert!(
        has("client0/0 sent link") && has("broadcast hello, größer"),
        "{text}"
    );
    let page = drawn(&files[..1], "--format html");
    assert!(page.contains("<title>A recording of server 0 of 3</title>"));
}

#[test]
fn servers_that_no_link_joins_begin_at_zero_each_and_it_is_said() {
    let folder = Folder::new("apart");
    let mut files = folder.record(1, 2, "first");
    // Another grid of two: its server 1 never met the server 0 of the first.
    files.push(folder.record(2, 2, "other").remove(1));
    let output = replay(&files, "--format html");
    assert_eq!(
        text(&output.stderr),
        "warning: no link joins server 1 (other1) with server 0 (first0): \
         their clocks are unknown to each other, and both begin at zero\n"
    );
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("0 found at both ends"));
}

#[test]
fn a_recording_that_was_cut_off_is_drawn_as_far_as_it_goes() {
    let folder = Folder::new("torn");
    let mut files = folder.record(2, 2, "server");
    let whole = drawn(&files, "--format text").lines().count();
    let bytes = fs::read(&files[0]).unwrap();
    files[0] = folder.file("torn");
    // Within the last record: the halt, a varint of its length, a tag, its kind and two of the sum.
    fs::write(&files[0], &bytes[..bytes.len() - 1]).unwrap();
    let output = replay(&files, "--format text");
    let said = format!(
        "warning: {}: the last record is torn, and its 4 bytes were ignored\n",
        files[0].display()
    );
    assert_eq!(text(&output.stderr), said);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("server0 record-end: the recording ends here"));
    assert_eq!(text(&output.stdout).lines().count(), whole);
    // Nothing is left but the header; and less than that is no recording.
    let header = 9
        + bytes[9..]
            .windows(12)
            .position(|each| each == b"backoff-max ")
            .unwrap()
        + 40;
    fs::write(&files[0], &bytes[..header]).unwrap();
    assert!(replay(&files, "--format text").status.success());
    fs::write(&files[0], &bytes[..100]).unwrap();
    let output = replay(&files, "--format text");
    let said =
        "it ends within its header\nhint: `chatroom serve --record FILE` makes a recording\n";
    assert!(
        text(&output.stderr).ends_with(said),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_cannot_be_drawn_is_said_in_a_sentence_with_a_hint() {
    let folder = Folder::new("denied");
    let mut files = folder.record(2, 2, "server");
    files.push(folder.record(1, 3, "larger").remove(0));
    files.push(folder.file("nonsense"));
    fs::write(&files[3], "nonsense").unwrap();
    files.push(folder.file("again"));
    fs::copy(&files[0], &files[4]).unwrap();
    files.push(folder.file("absent"));
    let shown: Vec<String> = files
        .iter()
        .map(|each| each.display().to_string())
        .collect();
    let many = vec![&files[0]; 65];
    for (given, options, said) in [
        (
            vec![&files[0], &files[4]],
            String::new(),
            format!(
                "error: {} and {} are both of server 0\nhint: a picture has one recording of each \
                 server: where one was started again, draw its lives one by one\n",
                shown[0], shown[4]
            ),
        ),
        (
            vec![&files[1], &files[2]],
            String::new(),
            format!(
                "error: {} is of a grid of 2 servers and {} of a grid of 3\n\
                 hint: a picture has one grid: draw each by itself\n",
                shown[1], shown[2]
            ),
        ),
        (
            vec![&files[0], &files[3]],
            String::new(),
            format!(
                "error: {}: this is no recording\n\
                 hint: `chatroom serve --record FILE` makes a recording\n",
                shown[3]
            ),
        ),
        (
            vec![&files[5]],
            String::new(),
            format!(
                "error: {}: No such file or directory (os error 2)\n\
                 hint: `chatroom serve --record FILE` makes a recording\n",
                shown[5]
            ),
        ),
        (
            many,
            String::new(),
            "error: 65 recordings: expected at most 64 in one picture\n\
             hint: draw those of the servers that matter\n"
                .to_owned(),
        ),
        (
            vec![&files[0], &files[1]],
            format!("--out {}", shown[1]),
            format!(
                "error: --out {} is one of the recordings\n\
                 hint: a recording is never overwritten: give another file\n",
                shown[1]
            ),
        ),
        (
            vec![&files[0]],
            "--out /dev/full".to_owned(),
            "error: cannot write /dev/full: No space left on device (os error 28)\n\
             hint: give a place that can be written to\n"
                .to_owned(),
        ),
    ] {
        let output = replay(given, &format!("--format html {options}"));
        assert_eq!(text(&output.stderr), said);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(text(&output.stdout), "");
    }
    let output = replay(&files[..1], "--out page.html");
    assert_eq!(
        output.status.code(),
        Some(2),
        "nothing is drawn without a format"
    );
    // More than is held in memory, where the length is known and where it is not.
    let huge = folder.file("huge");
    fs::File::create(&huge).unwrap().set_len(33 << 20).unwrap();
    let said = "with this one the recordings have more than 33554432 bytes, the most in one picture\n\
                hint: draw fewer at once, or record for a shorter time\n";
    let output = replay([&huge], "--format html");
    let error = text(&output.stderr);
    assert!(error.ends_with(said), "{error}");
    let mut child = chatroom("replay /dev/stdin --format html")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read everything.
    let _ = child.stdin.take().unwrap().write_all(&long(&files[0]));
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(error.ends_with(said), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

/// A file in memory.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Vec<u8>>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sound recording of 36 MiB, with the header of another.
fn long(like: &Path) -> Vec<u8> {
    let bytes = fs::read(like).unwrap();
    let find = |what: &[u8]| {
        bytes
            .windows(what.len())
            .position(|each| each == what)
            .unwrap()
    };
    let (begin, last) = (find(b"chatroom "), find(b"backoff-max "));
    let end = last
        + bytes[last..]
            .iter()
            .position(|each| *each == b'\n')
            .unwrap()
        + 1;
    let disk = Disk::default();
    let server = ChatServer::new(Config::new(0, 2)).unwrap();
    let complain = |error| panic!("{error}");
    let mut server = Recorder::new(server, disk.clone(), &bytes[begin..end], complain).unwrap();
    server.handle_start(Time::ZERO);
    let master = server.handle_accepted(Time::ZERO, MASTERS, Remote::default());
    let master = master.unwrap();
    for _ in 0..3 {
        // What the server thinks of it does not matter.
        let _ = server.handle_bytes(Time::ZERO, master, &vec![b'\n'; 12 << 20]);
    }
    drop(server);
    disk.0.take()
}
