// Nothing in these files needs a bundler: the page that loads from a CDN runs them unchanged.
import { createElement, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { EXAMPLES_PLUGIN } from './catalogue.js';
import { tabs } from './examples.js';
import { connect, defaultHeaders, send, SESSION_PLUGIN, SharedHeaders, storage } from './session.js';

const root = document.getElementById('graphiql');
const { endpoint } = root.dataset;
connect(endpoint);
const ask = createGraphiQLFetcher({
  url: endpoint,
  // Subscriptions go over a WebSocket, which says who it is with what is typed under Headers.
  subscriptionUrl: new URL(endpoint, location.href).href.replace(/^http/, 'ws'),
  fetch: send,
  // The server takes tokens in cookies only from pages that can send this.
  headers: { 'graphql-require-preflight': '1' },
});

/** For a moment after a tab was opened GraphiQL sends the name of the operation that was there before. */
function fetcher({ operationName, ...params }, options) {
  const there = new RegExp(`\\b${operationName}\\b`).test(params.query);
  return ask(there ? { ...params, operationName } : params, options);
}

/** Breaks long lines, so that the comments of the examples are read in a narrow window, too. */
function LineBreaks() {
  const editor = useGraphiQL((state) => state.queryEditor);
  useEffect(() => editor?.updateOptions({ wordWrap: 'on' }), [editor]);
}

/** Has the editors follow when the system turns dark or light while the page is open; GraphiQL has the rest follow. */
function Daylight() {
  const theme = useGraphiQL((state) => state.theme);
  const { setTheme } = useGraphiQLActions();
  useEffect(() => {
    if (theme) return;
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const follow = () => setTheme(null);
    dark.addEventListener('change', follow);
    return () => dark.removeEventListener('change', follow);
  }, [theme, setTheme]);
}

createRoot(root).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      plugins: [EXAMPLES_PLUGIN, SESSION_PLUGIN, HISTORY_PLUGIN],
      visiblePlugin: EXAMPLES_PLUGIN.title,
      defaultTabs: tabs,
      defaultHeaders,
      defaultEditorToolsVisibility: 'variables',
      // Variables hold passwords and headers hold tokens: neither may outlive the browser tab.
      storage,
      shouldPersistHeaders: false,
    },
    createElement(GraphiQL.Logo, null, 'Cardea', ...[SharedHeaders, LineBreaks, Daylight].map((part) => createElement(part, { key: part.name }))),
  ),
);
