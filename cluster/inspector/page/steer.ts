/** Steering: what is to be done, then whether it really is, then what came of it. */

import { h } from './dom.js';

type Wish = Readonly<Record<string, string | number>>;

/** A message at the edge of the page, for a while. */
export function toast(text: string, kind: 'done' | 'failed'): void {
  const box = document.getElementById('toasts');
  const message = h('p', { class: `toast ${kind}`, role: kind === 'failed' ? 'alert' : 'status' }, text);
  box?.append(message);
  window.setTimeout(() => message.remove(), 8_000);
}

async function send(wish: Wish): Promise<void> {
  try {
    const answer = await fetch('/api/steer', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wish),
    });
    const told = (await answer.json()) as { readonly done?: string; readonly error?: string };
    if (told.done !== undefined) toast(told.done, 'done');
    else toast(told.error ?? `The inspector answered ${answer.status}.`, 'failed');
  } catch {
    toast('The inspector does not answer.', 'failed');
  }
}

function dialogElement(): HTMLDialogElement {
  const dialog = document.getElementById('dialog');
  if (!(dialog instanceof HTMLDialogElement)) throw new Error('the page has no dialog');
  return dialog;
}

/** Asks, and does it when the answer is yes. */
export function confirmed(question: string, verb: string, wish: Wish, danger = false): void {
  const dialog = dialogElement();
  const no = h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
  const yes = h(
    'button',
    {
      type: 'button',
      class: danger ? 'danger' : 'primary',
      'data-confirm': true,
      onclick: () => {
        dialog.close();
        void send(wish);
      },
    },
    verb,
  );
  dialog.replaceChildren(h('h2', { id: 'dialog-title' }, question), h('div', { class: 'buttons' }, no, yes));
  if (!dialog.open) dialog.showModal();
  no.focus();
}

/** Something to choose from before it is asked. */
export function choices(title: string, ...rows: readonly HTMLElement[]): void {
  const dialog = dialogElement();
  dialog.replaceChildren(
    h('h2', { id: 'dialog-title' }, title),
    ...rows,
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Close')),
  );
  if (!dialog.open) dialog.showModal();
}
