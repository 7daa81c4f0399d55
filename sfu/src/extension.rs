//! The header extensions that the engine does not carry: the dependency descriptor (AV1 RTP specification, appendix A) and the colour space.

use std::sync::Arc;

use str0m::rtp::{ExtensionSerializer, ExtensionValues};

use crate::colour::ColourSpace;

/// Where the dependency descriptor has its place before an offer gives it another; free in the engine's own list.
pub const DESCRIPTOR_ID: u8 = 12;
/// The same of the colour space.
pub const COLOUR_ID: u8 = 9;

/// The value of a dependency descriptor.
#[derive(Debug)]
pub struct DescriptorBytes(pub Arc<[u8]>);

/// Carries dependency descriptors through the engine as they are. It allocates for each, so that only codecs that need it should have it:
/// see [`crate::sdp::to_engine`].
#[derive(Debug)]
pub struct DescriptorExtension;

impl ExtensionSerializer for DescriptorExtension {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(DescriptorBytes(bytes)) = values.user_values.get::<DescriptorBytes>() else { return 0 };
        let Some(place) = buf.get_mut(..bytes.len()).filter(|place| place.len() <= 255) else { return 0 };
        place.copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DescriptorBytes(buf.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        // RFC 8285, section 4.2: the short form holds 16 bytes.
        values.user_values.get::<DescriptorBytes>().is_some_and(|bytes| bytes.0.len() > 16)
    }
}

/// Carries colour spaces, which come with the last packet of a keyframe. What may follow of high dynamic range is left out: no browser sends it
/// of a camera or a screen.
#[derive(Debug)]
pub struct ColourExtension;

impl ExtensionSerializer for ColourExtension {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(ColourSpace(bytes)) = values.user_values.get::<ColourSpace>() else { return 0 };
        let Some(place) = buf.first_chunk_mut() else { return 0 };
        *place = *bytes;
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        if let Some(colour) = ColourSpace::read(buf) {
            values.user_values.set(colour);
        }
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}
