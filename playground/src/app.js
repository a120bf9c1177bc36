// Nothing in this file needs a bundler: the page that loads from a CDN runs it unchanged.
import { createElement, useEffect, useRef } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import { useGraphiQL } from '@graphiql/react';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { examples } from './examples.js';

const defaultHeaders = '{\n  "Authorization": "Bearer "\n}';

function send(url, { headers, ...init }) {
  const sent = new Headers(headers);
  // "Bearer" without a token is the placeholder above, which the server would refuse as malformed.
  if (/^bearer$/i.test(sent.get('authorization') ?? '')) sent.delete('authorization');
  return fetch(url, { ...init, headers: sent, credentials: 'same-origin' });
}

/** Carries what is typed under Headers along to every tab, so that a token is pasted once. */
function SharedHeaders() {
  const editor = useGraphiQL((state) => state.headerEditor);
  const tab = useGraphiQL((state) => state.activeTabIndex);
  const shared = useRef(defaultHeaders);
  useEffect(() => {
    if (!editor) return;
    if (editor.getValue() !== shared.current) editor.setValue(shared.current);
    // A flush is GraphiQL putting in the text of another tab, not somebody typing.
    const typing = editor.onDidChangeModelContent(({ isFlush }) => {
      if (!isFlush) shared.current = editor.getValue();
    });
    return () => typing.dispose();
  }, [editor, tab]);
}

const root = document.getElementById('graphiql');
const { endpoint } = root.dataset;
const fetcher = createGraphiQLFetcher({
  url: endpoint,
  // Subscriptions go over a WebSocket, which says who it is with what is typed under Headers.
  subscriptionUrl: new URL(endpoint, location.href).href.replace(/^http/, 'ws'),
  fetch: send,
  // The server takes tokens in cookies only from pages that can send this.
  headers: { 'graphql-require-preflight': '1' },
});

createRoot(root).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: examples,
      defaultHeaders,
      defaultEditorToolsVisibility: 'variables',
      // Variables hold passwords and headers hold tokens: neither may outlive the browser tab.
      storage: sessionStorage,
      shouldPersistHeaders: false,
    },
    createElement(GraphiQL.Logo, null, 'Cardea', createElement(SharedHeaders)),
  ),
);
