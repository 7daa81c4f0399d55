/** The little that this client reads and changes in SDP. */

/** The mids of the m-lines, in order: a first offer has them in the order of the transceivers. */
export function midsOf(sdp: string): string[] {
  return sectionsOf(sdp).map((section) => /^a=mid:(\S+)/m.exec(section)?.[1] ?? '');
}

export interface OpusTuning {
  /**
   * It is a voice: send next to nothing in silence (RFC 7587, section 3.1.3), and each packet again with the next one (RED, RFC 2198).
   * Up to 40 kbit/s more while somebody speaks, a fortieth of a camera, and a packet that is lost on the way to the server is
   * not missing for the whole class.
   */
  dtx: boolean;
  stereo: boolean;
  maxAverageBitrateBps: number;
}

/**
 * Sets Opus parameters of some m-lines of the answer. In an answer they are what the receiver wishes, and browsers
 * configure their encoders by it (RFC 7587, section 7).
 */
export function tuneOpus(answer: string, byMid: Readonly<Record<string, OpusTuning>>): string {
  const [head = '', ...sections] = answer.split(/^(?=m=)/m);
  const tuned = sections.map((section) => {
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const tuning = mid === undefined ? undefined : byMid[mid];
    const payloadType = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
    if (!tuning || payloadType === undefined) return section;
    const opus = withFmtp(section, payloadType, parametersOf(tuning));
    return tuning.dtx ? redFirst(opus) : opus;
  });
  return head + tuned.join('');
}

function parametersOf({ dtx, stereo, maxAverageBitrateBps }: OpusTuning): Record<string, string> {
  return {
    useinbandfec: '1',
    usedtx: dtx ? '1' : '0',
    ...(stereo && { stereo: '1', 'sprop-stereo': '1' }),
    maxaveragebitrate: String(maxAverageBitrateBps),
  };
}

/** Puts RED before the rest: libwebrtc sends it where it comes before Opus, and plain Opus elsewhere. */
function redFirst(section: string): string {
  const red = /^a=rtpmap:(\d+) red\/48000/im.exec(section)?.[1];
  if (red === undefined) return section;
  return section.replace(/^(m=audio \S+ \S+)(.*?)(\r?)$/m, (_, head: string, formats: string, end: string) => {
    const others = formats.split(' ').filter((format) => format && format !== red);
    return [head, red, ...others].join(' ') + end;
  });
}

function withFmtp(section: string, payloadType: string, parameters: Record<string, string>): string {
  const line = new RegExp(`^a=fmtp:${payloadType} (.*?)(\\r?)$`, 'm');
  const before = Object.fromEntries(
    (line.exec(section)?.[1] ?? '')
      .split(';')
      .map((pair) => pair.trim().split('='))
      .filter(([name]) => name)
      .map(([name, value]) => [name, value ?? '']),
  ) as Record<string, string>;
  const after = Object.entries({ ...before, ...parameters })
    .map(([name, value]) => (value ? `${name}=${value}` : name))
    .join(';');
  if (line.test(section)) return section.replace(line, `a=fmtp:${payloadType} ${after}$2`);
  const rtpmap = new RegExp(`^(a=rtpmap:${payloadType} .*?)(\\r?\\n)`, 'm');
  return section.replace(rtpmap, `$1$2a=fmtp:${payloadType} ${after}$2`);
}

function sectionsOf(sdp: string): string[] {
  return sdp.split(/^(?=m=)/m).slice(1);
}
