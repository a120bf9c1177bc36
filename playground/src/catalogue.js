// The list of example operations, in a pane of its own.
import { createElement as h } from 'react';
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { flows } from './examples.js';

function Catalogue() {
  const { addTab, changeTab } = useGraphiQLActions();
  const tabs = useGraphiQL((state) => state.tabs);
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);

  const open = ({ name, query, variables }) => {
    const there = tabs.findIndex(({ title }) => title === name);
    if (there >= 0) return changeTab(there);
    addTab();
    queryEditor?.setValue(query);
    variableEditor?.setValue(variables ?? '');
    return queryEditor?.focus();
  };

  const item = (example) =>
    h('li', { key: example.name }, h('button', { type: 'button', className: 'graphiql-un-styled', onClick: () => open(example) }, example.name));
  const flow = ({ title, examples }) => h('div', { key: title }, h('h3', null, title), h('ul', null, examples.map(item)));
  return h(
    'section',
    { className: 'cardea-plugin' },
    h('h2', null, 'Examples'),
    h('p', null, 'Each opens in a tab. What stands in its first lines says what it needs and what comes next.'),
    flows.map(flow),
  );
}

const icon = () =>
  h(
    'svg',
    { viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', strokeWidth: 1.8, 'aria-hidden': true },
    h('path', { d: 'M9 6h12M9 12h12M9 18h12M4 6h.01M4 12h.01M4 18h.01', strokeLinecap: 'round' }),
  );

/** Examples of every flow. */
export const EXAMPLES_PLUGIN = { title: 'Examples', icon, content: Catalogue };
