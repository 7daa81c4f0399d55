// JPEG files that are none but for their headers: as large as they say, and as long as one likes.

export function jpeg(width, height, filler = 0) {
  const start = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0];
  const scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
  return Buffer.from([...start, ...scan, ...Array(filler).fill(0), 0xff, 0xd9]);
}
