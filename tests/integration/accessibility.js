// What of the page breaks a rule of accessibility, as sentences.
const problems = [];
const say = (what, where) => problems.push(what + ': ' + (where.id || where.outerHTML.slice(0, 120)));
const seen = new Set();
for (const e of document.querySelectorAll('[id]')) {
  if (seen.has(e.id)) say('duplicate id', e);
  seen.add(e.id);
}
for (const e of document.querySelectorAll('svg')) {
  const named = e.getAttribute('aria-hidden') === 'true' || e.querySelector(':scope > title')?.textContent;
  if (!named) say('picture without a name', e);
}
for (const e of document.querySelectorAll('table')) {
  if (!e.caption?.textContent.trim()) say('table without a caption', e);
  for (const h of e.querySelectorAll('th')) {
    if (!h.scope) say('th without a scope', h);
    if (!h.textContent.trim()) say('empty th', h);
  }
}
for (const e of document.querySelectorAll('a[href^="#"]')) {
  if (!document.getElementById(decodeURIComponent(e.hash.slice(1)))) say('dead link ' + e.hash, e);
}
for (const e of document.querySelectorAll('a, button, summary')) {
  if (!(e.textContent.trim() || e.getAttribute('aria-label'))) say('control without a name', e);
}
for (const name of ['aria-labelledby', 'aria-describedby']) {
  for (const e of document.querySelectorAll('[' + name + ']')) {
    for (const id of e.getAttribute(name).split(' ')) {
      if (!document.getElementById(id)?.textContent.trim()) say(name + ' of nothing', e);
    }
  }
}
for (const e of document.querySelectorAll('.scroll')) if (e.tabIndex !== 0) say('no way to scroll by keys', e);
let level = 0;
for (const e of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
  const own = Number(e.tagName[1]);
  if (own > level + 1) say('heading skips a level', e);
  level = own;
}
if (document.querySelectorAll('main').length !== 1) problems.push('not one main');
if (document.querySelectorAll('h1').length !== 1) problems.push('not one h1');
if (!document.documentElement.lang) problems.push('no language');
return problems;
