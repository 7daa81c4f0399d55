/**
 * Changes what a sender sends, one change after the other: a browser refuses parameters that were read before the last change
 * was made (W3C webrtc, `setParameters`).
 */
export class SenderParameters {
  #last: Promise<void> = Promise.resolve();

  constructor(private readonly sender: Pick<RTCRtpSender, 'getParameters' | 'setParameters'>) {}

  /** `edit` changes the parameters in place. A browser that cannot do what they say goes on as before. */
  change(edit: (parameters: RTCRtpSendParameters) => void): Promise<void> {
    this.#last = this.#last.then(async () => {
      // Once more when something else (the layers that are needed, an answer) has changed the parameters in between.
      for (let attempt = 0; attempt < 2; attempt += 1) {
        try {
          const parameters = this.sender.getParameters();
          edit(parameters);
          await this.sender.setParameters(parameters);
          return;
        } catch {
          // Left as it is after the second time.
        }
      }
    });
    return this.#last;
  }
}
