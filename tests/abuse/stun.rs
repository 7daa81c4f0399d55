//! Lines 14 and 15: STUN.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::caller::{eventually, is_stun};
use crate::handshake::{media_of, stranger};
use crate::scene::Scene;
use crate::wire::PATIENCE;

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A binding request with these attributes, each as (type, announced length, value).
fn request(length: Option<u16>, attributes: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, announced, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(announced.to_be_bytes());
        body.extend(*value);
    }
    let length = length.unwrap_or(body.len() as u16);
    let mut message = vec![0, 1];
    message.extend(length.to_be_bytes());
    message.extend(MAGIC);
    message.extend([7; 12]);
    message.extend(body);
    message
}

/// Line 14 (CVE-2026-40613): wrong lengths, attributes in the wrong order or cut off, odd alignment; from a participant's address
/// and from a stranger's. Made from scratch and from real requests of a participant.
#[test]
fn line_14_malformed_stun() {
    let scene = Scene::open("line-14");
    let alice = &scene.alice;
    let real =
        || alice.caller.seen().sent.iter().rev().find(|sent| is_stun(sent) && sent[0..2] == [0, 1]).cloned();
    eventually("Alice checks her connection", PATIENCE, || real().is_some());
    let real = real().unwrap();
    let username = {
        let end = 24 + usize::from(u16::from_be_bytes([real[22], real[23]]));
        assert_eq!(real[20..22], [0, 6], "the first attribute is USERNAME");
        real[24..end].to_vec()
    };
    let name = (6_u16, username.len() as u16, &username[..]);
    let integrity = (8_u16, 20_u16, &[9_u8; 20][..]);
    let mut messages = vec![
        request(Some(0), &[name, integrity]),
        request(Some(0xffff), &[name, integrity]),
        request(Some(0xfffc), &[name]),
        request(Some(1), &[name]),
        request(Some(3), &[]),
        // MESSAGE-INTEGRITY first, twice, short, long.
        request(None, &[integrity, name]),
        request(None, &[integrity]),
        request(None, &[name, integrity, integrity]),
        request(None, &[name, (8, 19, &[9; 20])]),
        request(None, &[name, (8, 0, &[])]),
        request(None, &[name, (8, 0xffff, &[9; 20])]),
        // Attributes over the end.
        request(None, &[(6, 0xffff, b"a:b")]),
        request(None, &[(6, 3, b"a:b")]),
        request(None, &[(6, 5, b"a:bcd")]),
        request(None, &[(6, 0, &[]), integrity]),
        request(None, &[(6, 4, &[0xff, 0xfe, b':', 0]), integrity]),
        request(None, &[name, (0x20, 1, &[1, 0, 0, 0])]),
        request(None, &[name, (0x20, 8, &[0, 9, 1, 1, 1, 1, 1, 1]), integrity]),
        request(None, &[name, (0x24, 2, &[1, 1, 0, 0]), (0x25, 4, &[0; 4]), (0x802a, 3, &[0; 4]), integrity]),
        request(None, &[name, (9, 4, &[0, 0, 9, 99]), integrity]),
        request(None, &[name, (0x8028, 4, &[0; 4])]),
        request(None, &vec![(0x8022, 0, &[][..]); 300]),
    ];
    // The real one: cut off anywhere, every byte changed, every announced length.
    messages.extend((0..real.len()).map(|length| real[..length].to_vec()));
    // But the FINGERPRINT at its end: it is no proof of anything, and a request without a right one is authentic.
    assert_eq!(real[real.len() - 8..][..2], [0x80, 0x28]);
    for at in 0..real.len() - 8 {
        for change in [1, 0x80, 0xff] {
            let mut altered = real.clone();
            altered[at] ^= change;
            messages.push(altered);
        }
    }
    for length in 0..=real.len() as u16 + 8 {
        let mut altered = real.clone();
        altered[2..4].copy_from_slice(&length.to_be_bytes());
        if altered != real {
            messages.push(altered);
        }
    }
    // Every class and method in the first two bytes.
    for kind in 0..0x4000_u16 {
        let mut altered = real.clone();
        altered[0..2].copy_from_slice(&kind.to_be_bytes());
        // Not the request itself: it is authentic, and from another address it would be another candidate.
        if kind != 1 {
            messages.push(altered);
        }
    }
    let stranger = stranger();
    for (i, message) in messages.iter().enumerate() {
        alice.caller.socket.send_to(message, alice.media).unwrap();
        stranger.send_to(message, alice.media).unwrap();
        if i % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(stranger.recv(&mut [0; 2_048]).is_err(), "a stranger was answered");
    scene.close();
}

/// Line 15: what is not authenticated gets no answer larger than itself, and at most ten in a second; whatever it asks for, of STUN
/// or of TURN.
#[test]
fn line_15_no_amplification() {
    let scene = Scene::open("line-15");
    let target = media_of(&scene);
    let real = || scene.alice.caller.seen().sent.iter().rev().find(|sent| is_stun(sent)).cloned();
    eventually("Alice checks her connection", PATIENCE, || real().is_some());
    let real = real().unwrap();
    let name_end = 24 + usize::from(u16::from_be_bytes([real[22], real[23]]));
    assert_eq!(real[20..22], [0, 6], "the first attribute is USERNAME");
    let name = (6_u16, (name_end - 24) as u16, &real[24..name_end.next_multiple_of(4)]);
    let of_nobody = (6_u16, 8_u16, &b"aaaa:bbb"[..]);
    let integrity = (8_u16, 20_u16, &[9_u8; 20][..]);
    let with_kind = |kind: u16, attributes: &[(u16, u16, &[u8])]| {
        let mut message = request(None, attributes);
        message[0..2].copy_from_slice(&kind.to_be_bytes());
        message
    };
    // REQUESTED-TRANSPORT: UDP (RFC 8656, section 18.7).
    let transport = (0x19_u16, 4_u16, &[17_u8, 0, 0, 0][..]);
    let messages = [
        request(None, &[]),
        request(None, &[of_nobody]),
        request(None, &[of_nobody, integrity]),
        request(None, &[name]),
        request(None, &[name, integrity]),
        // A binding indication, answers to what nobody asked, and TURN: Allocate, Refresh, CreatePermission, ChannelBind, Connect.
        with_kind(0x0011, &[name, integrity]),
        with_kind(0x0101, &[]),
        with_kind(0x0111, &[]),
        with_kind(0x0003, &[transport]),
        with_kind(0x0003, &[name, transport, integrity]),
        with_kind(0x0004, &[]),
        with_kind(0x0008, &[]),
        with_kind(0x0009, &[]),
        with_kind(0x000a, &[]),
    ];
    let strangers: Vec<UdpSocket> = (0..4).map(|_| stranger()).collect();
    let mut answers: Vec<Vec<Instant>> = vec![Vec::new(); strangers.len()];
    // How long each message was, by its transaction.
    let mut asked: HashMap<[u8; 12], usize> = HashMap::new();
    let began = Instant::now();
    let mut buffer = [0; 2_048];
    while began.elapsed() < Duration::from_secs(3) {
        for (stranger, answers) in strangers.iter().zip(&mut answers) {
            for message in &messages {
                let mut message = message.clone();
                let mut transaction = [7; 12];
                transaction[..8].copy_from_slice(&(asked.len() as u64).to_be_bytes());
                message[8..20].copy_from_slice(&transaction);
                asked.insert(transaction, message.len());
                stranger.send_to(&message, target).unwrap();
            }
            while let Ok(length) = stranger.recv(&mut buffer) {
                let transaction = buffer[8..20].try_into().unwrap();
                let question = asked.get::<[u8; 12]>(transaction).copied();
                assert!(question.is_some_and(|question| length <= question), "{length} for {question:?}");
                answers.push(Instant::now());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(asked.len() > 10_000, "{}", asked.len());
    for times in answers {
        let too_many = times.windows(11).find(|eleven| eleven[10] - eleven[0] < Duration::from_secs(1));
        assert!(too_many.is_none(), "{} answers, eleven of them within a second", times.len());
    }
    scene.close();
}
