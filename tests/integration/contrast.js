// Words whose contrast with what is behind them is below 4.5.
const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
const parse = (text) => text.match(/[\d.]+/g).map(Number);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const found = parse(getComputedStyle(e).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const low = new Set();
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  if (e.closest('svg') && e.tagName !== 'text') continue;
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length) continue;
  const style = getComputedStyle(e);
  const ink = light(parse(e.tagName === 'text' ? style.fill : style.color));
  const page = light(ground(e));
  const ratio = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  if (ratio < 4.5) low.add(e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + ratio.toFixed(2));
}
return [...low];
