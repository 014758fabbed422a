//! Any bytes as a volume's file: they are read or refused, what was read is written again the
//! same, and a sound file that is cut off or has a bit flipped is never read as something else.

use chatroom_machine::{Volume, VolumeKind};
use chatroom_storage::{Damage, HEADER, Scan, encode_header, encode_record};

const VOLUME: Volume = Volume {
    name: "log",
    kind: VolumeKind::Log,
};

/// Reads `data` as a file; then makes a file of it, and damages that.
pub(crate) fn storage_file(data: &[u8]) {
    if let Ok((first, records, _)) = read(data) {
        assert!(records.len() < data.len());
        let (again, sound) = write(first, &records);
        if sound == HEADER {
            return;
        }
        assert_eq!(&again[HEADER..], &data[HEADER..sound]);
    }
    let [which, position, more, rest @ ..] = data else {
        return;
    };
    let records: Vec<&[u8]> = rest.chunks(usize::from(*which) % 40 + 1).collect();
    let (mut file, _) = write(u64::from(*which), &records);
    let at = (usize::from(*position) * 256 + usize::from(*more)) % file.len();
    let (_, before, rest) = match read(&file[..at]) {
        Ok(read) => read,
        Err(Damage::TornHeader) => (0, vec![], 0),
        Err(damage) => panic!("a file that ends at {at} is torn, not {damage}"),
    };
    assert!(rest <= at && records.starts_with(&before));
    file[at] ^= 1 << (which % 8);
    assert!(read(&file).is_err(), "a flipped bit at {at} went unnoticed");
}

type Read<'a> = (u64, Vec<&'a [u8]>, usize);

fn read(file: &[u8]) -> Result<Read<'_>, Damage> {
    let mut scan = Scan::new(file)?;
    let first = scan.header().first;
    let mut records = Vec::new();
    while let Some(record) = scan.next()? {
        assert_eq!(record.number, first + records.len() as u64);
        records.push(record.bytes);
    }
    assert_eq!(scan.sound() + scan.rest(), file.len());
    Ok((first, records, scan.rest()))
}

fn write(first: u64, records: &[&[u8]]) -> (Vec<u8>, usize) {
    let mut file = Vec::new();
    encode_header(&VOLUME, first, &mut file);
    for (number, record) in (first..).zip(records) {
        encode_record(number, record, &mut file);
    }
    let length = file.len();
    (file, length)
}
