//! Reads what codecs write in bits.

/// Reads bits, most significant first. At the end of the bytes there is nothing more, never a panic.
#[derive(Debug)]
pub struct Bits<'a> {
    /// What is read.
    pub bytes: &'a [u8],
    /// The next bit.
    pub at: usize,
}

impl Bits<'_> {
    /// A number of so many bits, at most 32.
    pub fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// One bit.
    pub fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// A number of so many bits, at most 8.
    pub fn byte(&mut self, count: usize) -> Option<u8> {
        u8::try_from(self.read(count)?).ok()
    }

    /// `ns(n)`: a number below `n` (AV1 RTP specification, A.8.1).
    pub fn below(&mut self, n: u32) -> Option<u32> {
        let width = (u32::BITS - n.leading_zeros()) as usize;
        let short = (1 << width) - n;
        let value = self.read(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }

    /// `ue(v)`: an exponential Golomb code (ITU-T H.264, section 9.1).
    pub fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.read(zeros)?)
    }
}
