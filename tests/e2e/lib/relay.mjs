// Networks that let a page's media out on some ways alone: for labs, like lib/network.mjs.

/** TURN alone, over one transport: `udp`, `tcp` or `tls`. */
export const relayOnly = (transport) => ({
  async carries(page) {
    await page.addInitScript((wanted) => {
      const fits = (url) =>
        wanted === 'tls' ? url.startsWith('turns:') : url.startsWith('turn:') && url.endsWith(`?transport=${wanted}`);
      const real = RTCPeerConnection.prototype.setConfiguration;
      RTCPeerConnection.prototype.setConfiguration = function (configuration) {
        const iceServers = configuration.iceServers
          .map((server) => ({ ...server, urls: server.urls.filter(fits) }))
          .filter(({ urls }) => urls.length > 0);
        return real.call(this, {
          ...configuration,
          iceServers,
          iceTransportPolicy: 'relay',
        });
      };
    }, transport);
  },
});

/** Connections to the server's own candidates over TCP alone (ICE-TCP): as if nothing came through by UDP, and no relay. */
export const tcpOnly = {
  async carries(page) {
    await page.addInitScript(() => {
      const { setConfiguration, setRemoteDescription } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.setConfiguration = function (configuration) {
        return setConfiguration.call(this, {
          ...configuration,
          iceServers: [],
        });
      };
      RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        const left = sdp.replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, '');
        return setRemoteDescription.call(this, { type, sdp: left });
      };
    });
  },
};
