// Which page is shown: the path of the address.
import { type ReactNode, useEffect, useRef, useSyncExternalStore, type MouseEvent } from 'react';

/** The token of a mailed link, taken out of the address, where it would stay in the history. */
export const mailedToken = new URLSearchParams(location.hash.slice(1)).get('token');
if (mailedToken) history.replaceState(null, '', location.pathname);

function subscribe(changed: () => void): () => void {
  addEventListener('popstate', changed);
  return () => removeEventListener('popstate', changed);
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname);
}

export function go(path: string): void {
  history.pushState(null, '', path);
  moved = true;
  dispatchEvent(new PopStateEvent('popstate'));
}

/** Whether the person has gone from page to page; the first one leaves the focus to the browser. */
let moved = false;
addEventListener('popstate', () => {
  moved = true;
});

export function Link({ to, children }: { to: string; children: ReactNode }) {
  const current = usePath() === to;
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={to} onClick={follow} aria-current={current ? 'page' : undefined}>
      {children}
    </a>
  );
}

/** A page under a heading that gets the focus, so that a screen reader begins there. */
export function Page({ title, wide = false, children }: { title: string; wide?: boolean; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Cardea example`;
    if (moved) heading.current?.focus();
    moved = true;
  }, [title]);
  return (
    <section className={wide ? 'page wide' : 'page'} aria-labelledby="title">
      <h1 id="title" ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </section>
  );
}
