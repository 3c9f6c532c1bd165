// Elements of the page. Texts are set as text alone: some are callers' own.

/** An element with attributes and children; a child that is a text stays one. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Changes a text only if it is another one, so that nothing is announced or laid out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function byId(id) {
  return document.getElementById(id);
}
