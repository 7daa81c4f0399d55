//! Lines with a checksum: `<crc32c in 8 hexadecimal digits> <JSON>\n`.

/// Makes a line of JSON that has no line end in it.
pub fn write(json: &str) -> String {
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
}

/// The JSON of a line with its end; nothing when the line is torn or damaged.
pub fn read(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = line.split_once(' ')?;
    (u32::from_str_radix(checksum, 16).ok()? == crc32c::crc32c(json.as_bytes())).then_some(json)
}
