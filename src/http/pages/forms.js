// Forms and buttons that do something and say why they did not.
import { tell } from './page.js';

export const find = (id) => document.getElementById(id);

/** Makes an element: `make('li', { className: 'x' }, 'text', child)`. */
export function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The list for what goes wrong with an element: its own, or that of what it lies in. */
const listOf = (element) => element.closest(':has(ul.bad)')?.querySelector('ul.bad');

/** The first field of a form that must be filled in and is not. */
const emptyOf = (form) => [...form.querySelectorAll('input[required]')].find(({ value }) => !value.trim());

/** Says why it failed, or takes what was said away. */
export function complain(element, errors) {
  // What is no longer in the page has nothing to say.
  listOf(element)?.replaceChildren(...errors.map((error) => tell('li', error)));
  const field = element.tagName === 'FORM' ? (emptyOf(element) ?? element.querySelector('input')) : null;
  if (!field) return;
  // What was said of another field goes with what was said.
  for (const other of element.querySelectorAll('input[aria-invalid]')) other.ariaInvalid = null;
  field.ariaInvalid = errors.length > 0 ? 'true' : null;
  if (errors.length > 0) field.focus();
}

/**
 * Runs `work` when a form is sent or a button is pressed. It gives errors, or nothing. A second press
 * waits for the first one.
 */
export function on(element, work) {
  const isForm = element.tagName === 'FORM';
  let busy = false;
  element[isForm ? 'onsubmit' : 'onclick'] = async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    element.ariaBusy = 'true';
    complain(element, []);
    try {
      // An empty code would count as a wrong one.
      const missing = isForm && emptyOf(element) ? [{ code: 'EMPTY' }] : null;
      complain(element, missing ?? (await work()) ?? []);
    } finally {
      busy = false;
      element.ariaBusy = null;
    }
  };
}
