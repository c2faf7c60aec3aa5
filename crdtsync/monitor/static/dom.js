// Builds elements, and brings what is on the screen up to date without losing focus, open rows or half-written fields.
// Values only ever become text nodes and attributes: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onsubmit", "onchange"];

/** Make an element; `on...` properties are handlers, null and false leave an attribute out, true writes it empty. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (HANDLERS.includes(name)) element[name] = value;
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter(isShown).map(asNode));
  return element;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false && child !== "";
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** Make the children of `parent` what `wanted` says, keeping every element that can be kept. */
export function show(parent, wanted) {
  const fresh = [wanted].flat(Infinity).filter(isShown).map(asNode);
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (const node of fresh) {
    const kept = node.dataset?.key ? keyed.get(node.dataset.key) : at;
    if (kept && isSame(kept, node)) {
      if (kept === at) at = at.nextSibling;
      else parent.insertBefore(kept, at);
      update(kept, node);
    } else {
      parent.insertBefore(node, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function isSame(old, fresh) {
  return old.nodeName === fresh.nodeName && old.dataset?.key === fresh.dataset?.key;
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether a row is open is the person's, not the data's.
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  // A field in which a person wrote listens to its attribute no more; what is being written there stays until something else is so.
  if (old.nodeName === "INPUT" && old.defaultValue !== fresh.defaultValue) old.value = fresh.defaultValue;
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const name of HANDLERS) if (old[name] !== fresh[name]) old[name] = fresh[name];
  if (old.nodeName === "PROGRESS" && old.value !== fresh.value) old.value = fresh.value;
  if (old.nodeName !== "TEXTAREA") show(old, [...fresh.childNodes]);
  // A select in which a person chose something listens to no attribute any more.
  if (old.nodeName === "SELECT") old.value = old.querySelector("option[selected]")?.value ?? "";
}
