// A network that lets a page's media out through TURN alone, over one transport: for labs, like lib/network.mjs.

/** `transport` is udp or tcp. */
export const relayOnly = (transport) => ({
  async carries(page) {
    await page.addInitScript((wanted) => {
      const real = RTCPeerConnection.prototype.setConfiguration;
      RTCPeerConnection.prototype.setConfiguration = function (configuration) {
        const iceServers = configuration.iceServers.map((server) => ({
          ...server,
          urls: server.urls.filter((url) => url.endsWith(`?transport=${wanted}`)),
        }));
        return real.call(this, { ...configuration, iceServers, iceTransportPolicy: 'relay' });
      };
    }, transport);
  },
});
