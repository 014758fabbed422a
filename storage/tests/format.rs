//! The format: what is written is read again; what was cut off is a prefix; what was changed is
//! noticed.

use chatroom_machine::{Volume, VolumeKind};
use chatroom_storage::{Damage, HEADER, Scan, encode_header, encode_record};
use proptest::collection::vec;
use proptest::prelude::*;

const VOLUME: Volume = Volume {
    name: "votes",
    kind: VolumeKind::Log,
};

fn file(first: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    encode_header(&VOLUME, first, &mut file);
    for (number, record) in (first..).zip(records) {
        encode_record(number, record, &mut file);
    }
    file
}

/// The records of a file, and how many bytes follow them.
fn read(file: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Damage> {
    let mut scan = Scan::new(file)?;
    let mut records = Vec::new();
    while let Some(record) = scan.next()? {
        records.push(record.bytes.to_vec());
    }
    Ok((records, scan.rest()))
}

/// Records of which many end in zeros: those are the ones to get wrong.
fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let record = (vec(any::<u8>(), 0..60), 0..20_usize).prop_map(|(mut record, zeros)| {
        record.resize(record.len() + zeros, 0);
        record
    });
    vec(record, 0..12)
}

proptest! {
    #[test]
    fn what_is_written_is_read(first in 0..u64::MAX / 2, records in records()) {
        let file = file(first, &records);
        let mut scan = Scan::new(&file).unwrap();
        let header = scan.header().clone();
        prop_assert_eq!((&*header.name, header.kind, header.first), ("votes", VolumeKind::Log, first));
        for (number, record) in (first..).zip(&records) {
            let found = scan.next().unwrap().unwrap();
            prop_assert_eq!((found.number, found.bytes), (number, &record[..]));
        }
        prop_assert_eq!(scan.next(), Ok(None));
        prop_assert_eq!((scan.sound(), scan.rest()), (file.len(), 0));
    }

    #[test]
    fn every_truncation_gives_a_prefix_also_with_zeros_behind_it(records in records(), zeros in 0..300_usize) {
        let whole = file(7, &records);
        for end in 0..whole.len() {
            let mut cut = whole[..end].to_vec();
            cut.resize(end + zeros, 0);
            match read(&cut) {
                Err(Damage::TornHeader) => prop_assert!(end < HEADER),
                Ok((found, rest)) => {
                    prop_assert!(end >= HEADER && records.starts_with(&found));
                    // No whole record is lost.
                    prop_assert_eq!(file(7, &found).len() + rest, cut.len());
                    prop_assert!(found.len() == records.len() || file(7, &records[..=found.len()]).len() > end);
                }
                Err(damage) => prop_assert!(false, "{} at {end}", damage),
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed(records in records()) {
        let mut file = file(7, &records);
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            let found = read(&file);
            let named = match found {
                Err(Damage::Corrupt { offset, .. }) => offset <= bit / 8,
                Err(Damage::NotAVolume) => bit < 64,
                Err(Damage::Version(_)) => bit / 8 == 8,
                Err(_) | Ok(_) => false,
            };
            prop_assert!(named, "bit {bit}: {found:?}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn records_that_changed_places_are_noticed(records in records(), one in 0..12_usize, other in 0..12_usize) {
        let (one, other) = (one.min(other), one.max(other));
        prop_assume!(other < records.len() && records[one] != records[other]);
        let mut file = file(7, &records[..one]);
        let mut swapped = records.clone();
        swapped.swap(one, other);
        // Written with the numbers that they had.
        for (at, record) in swapped.iter().enumerate().skip(one) {
            let number = match at {
                at if at == one => other,
                at if at == other => one,
                at => at,
            };
            encode_record(7 + number as u64, record, &mut file);
        }
        let corrupt = matches!(read(&file), Err(Damage::Corrupt { .. }));
        prop_assert!(corrupt);
    }

    #[test]
    fn nothing_is_made_of_noise(noise in vec(any::<u8>(), 0..200)) {
        let _ = read(&noise);
        let mut behind = file(0, &[b"one".to_vec()]);
        behind.extend_from_slice(&noise);
        if let Ok((found, _)) = read(&behind) {
            prop_assert_eq!(found, [b"one".to_vec()]);
        }
    }
}

/// The layout is a promise: files that were written stay readable.
#[test]
fn the_bytes_are_pinned() {
    let file = file(258, &[b"abc".to_vec()]);
    let expected = [
        b"chatvol\n\x01\0votes".as_slice(),
        &[0; 27],
        &[2, 1, 0, 0, 0, 0, 0, 0],
        &[0; 5],
        &[3, 0, 0, 0],
        &[0; 4],
        b"abc",
        &[0; 5],
    ]
    .concat();
    assert_eq!(file.len(), expected.len());
    // The sums, which another program computed.
    let mut pinned = expected;
    pinned[50..55].copy_from_slice(&PINNED[0]);
    pinned[59..63].copy_from_slice(&PINNED[1][..4]);
    pinned[66..71].copy_from_slice(&PINNED[2]);
    assert_eq!(file, pinned);
}

const PINNED: [[u8; 5]; 3] = [
    [0x22, 0x7c, 0x1e, 0x3b, 0xa5],
    [0xc5, 0x63, 0xd0, 0xbc, 0xa5],
    [0xe3, 0xc8, 0xa7, 0x1c, 0xa5],
];

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let said = |file: &[u8]| match Scan::new(file) {
        Ok(_) => "nothing".to_owned(),
        Err(damage) => damage.to_string(),
    };
    let mut newer = file(0, &[]);
    newer[8] = 9;
    assert_eq!(
        said(&newer),
        "it is of version 9 of the format, and only version 1 can be read"
    );
    assert_eq!(
        said(b"a shopping list"),
        "it does not begin with \"chatvol\\n\", as files of records do"
    );
    let mut wrong = file(0, &[b"a record".to_vec()]);
    wrong[HEADER + 10] ^= 1;
    assert_eq!(
        read(&wrong).unwrap_err().to_string(),
        "corrupt at byte 55: a record's sum is wrong"
    );
}
