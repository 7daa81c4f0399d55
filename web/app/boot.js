// Inside each page, so that it is there when nothing else is: what a page loads breaks off when the network changes (a tablet that goes from Wi-Fi to
// mobile), and without its script a page stays empty. It is loaded again, once by itself. Its digest is in the server's Content-Security-Policy.
addEventListener(
  'error',
  ({ target }) => {
    const isNeeded = target instanceof HTMLScriptElement || target?.rel === 'stylesheet';
    // What an extension of the browser puts into the page, and whatever comes after the page is there, is no reason to load it again in a class.
    const isOurs = isNeeded && (target.src || target.href).startsWith(`${location.origin}/`);
    if (!isOurs || document.readyState === 'complete' || document.querySelector('#boot')) return;
    const KEY = 'lectern.boot';
    const last = (() => {
      try {
        const then = Number(sessionStorage.getItem(KEY));
        sessionStorage.setItem(KEY, String(Date.now()));
        return then;
      } catch {
        // No storage: better not by itself, as that might never end.
        return Date.now();
      }
    })();
    const isFirst = Date.now() - last > 60_000;
    if (isFirst && navigator.onLine) setTimeout(() => location.reload(), 1000);
    const zh = /^zh/i.test(navigator.language);
    const box = document.createElement('main');
    box.id = 'boot';
    Object.assign(box.style, { maxWidth: '34rem', margin: '18vh auto', padding: '0 1.5rem', textAlign: 'center' });
    Object.assign(box.style, { font: '16px/1.6 system-ui, sans-serif' });
    const text = document.createElement('p');
    text.setAttribute('role', 'alert');
    text.style.margin = '0 0 1rem';
    if (isFirst) text.textContent = zh ? '网络中断，正在重新载入…' : 'The network was interrupted. Loading again…';
    else
      text.textContent = zh
        ? '页面未能完整载入，请检查网络。'
        : 'The page could not be loaded whole. Check the network.';
    const button = document.createElement('button');
    button.textContent = zh ? '重新载入' : 'Load again';
    Object.assign(button.style, { font: 'inherit', padding: '0.6rem 1.4rem', cursor: 'pointer' });
    button.addEventListener('click', () => location.reload());
    box.append(text, button);
    const show = () => document.body.append(box);
    if (document.body) show();
    else addEventListener('DOMContentLoaded', show);
    addEventListener('online', () => location.reload());
  },
  true,
);
