// What deploy/ looks at is there: every metric and label of the Prometheus rules and Grafana dashboards is one that a running server prints, from its start on.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statfsSync } from 'node:fs';
import { join as path } from 'node:path';
import { after, before, test } from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import { io } from 'socket.io-client';
import { parse as parseYaml } from 'yaml';
import { Receiver, SECRET } from './lib/receiver.mjs';
import { Server, root } from './lib/server.mjs';
import { until } from './lib/until.mjs';

/** Made by Prometheus itself. */
const OWN = new Set(['up']);
/** Added by Prometheus to every series. */
const ADDED = new Set(['instance', 'job']);

let server, receiver, series;
before(async () => {
  receiver = await Receiver.start();
  // No disk has so much free: every recording is refused.
  const reserve = ['--recording-reserve-megabytes', '1000000000'];
  server = await Server.start({ args: ['--webhook-url', receiver.url, '--webhook-secret', SECRET, ...reserve] });
  const text = await (await fetch(`${server.url}/metrics`)).text();
  series = printed(text);
});
after(async () => {
  await server?.stop();
  await receiver?.down();
});

/** The series of a scrape: name -> list of labels (Map). */
function printed(text) {
  const found = new Map();
  for (const line of text.split('\n').filter((line) => line && !line.startsWith('#'))) {
    const [, name, labels = ''] = /^([a-z_]+)(?:\{(.*)\})? /.exec(line);
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value]);
    found.set(name, [...(found.get(name) ?? []), new Map(pairs)]);
  }
  return found;
}

/** What an expression of PromQL looks at: `[{name, matchers: [{label, op, value}]}]`, and which labels it groups by. */
function read(text) {
  // Variables of Grafana stand for what would be there.
  const expression = text.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*');
  const selectors = [];
  const groups = [];
  const wrong = [];
  const say = (node) => expression.slice(node.from, node.to);
  parser.parse(expression).iterate({
    enter(node) {
      if (node.type.isError) wrong.push(`${expression.slice(0, node.from)}⟨here⟩${expression.slice(node.from)}`);
      if (node.name === 'VectorSelector') {
        const matchers = [];
        node.node.cursor().iterate((inner) => {
          if (inner.name !== 'UnquotedLabelMatcher') return;
          const [, label, op, value] = /^(\w+)\s*(=~|!~|!=|=)\s*"(.*)"$/.exec(say(inner));
          matchers.push({ label, op, value });
        });
        selectors.push({ name: say(node.node.getChild('Identifier')), matchers });
      }
      if (node.name === 'GroupingLabels') {
        const names = say(node).match(/\w+/g) ?? [];
        const inside = node.node.parent?.parent ?? node.node;
        groups.push({ names, inside: say(inside) });
      }
    },
  });
  return { selectors, groups, wrong };
}

/** What is wrong with an expression, given what the server prints. */
function problems(text, known = series) {
  const { selectors, groups, wrong } = read(text);
  const found = wrong.map((where) => `it is no PromQL: ${where}`);
  if (selectors.length === 0) found.push('it looks at nothing');
  for (const { name, matchers } of selectors.filter(({ name }) => !OWN.has(name))) {
    const there = known.get(name);
    if (!there) {
      found.push(`nothing prints ${name}`);
      continue;
    }
    for (const { label, op, value } of matchers.filter(({ label }) => !ADDED.has(label))) {
      const values = there.map((labels) => labels.get(label));
      if (values.every((value) => value === undefined)) found.push(`${name} has no label ${label}`);
      // Each choice of a pattern has to be one, or a rule would wait for what cannot come.
      const choices = op === '=~' || op === '!~' ? value.split('|') : [value];
      for (const choice of choices)
        if (!values.some((value) => new RegExp(`^(?:${choice})$`).test(value ?? '')))
          found.push(`no ${name} has ${label}="${choice}"`);
    }
  }
  const labels = new Set(
    selectors.flatMap(({ name }) => (known.get(name) ?? []).flatMap((labels) => [...labels.keys()])),
  );
  for (const { names } of groups)
    for (const name of names)
      if (!labels.has(name) && !ADDED.has(name)) found.push(`nothing here has the label ${name}`);
  return found;
}

const rules = parseYaml(readFileSync(path(root, 'deploy/prometheus/alerts.yaml'), 'utf8'));
const folder = path(root, 'deploy/grafana');
const dashboards = readdirSync(folder).map((name) => ({
  name,
  ...JSON.parse(readFileSync(path(folder, name), 'utf8')),
}));

test('the check itself sees what is wrong', () => {
  assert.deepEqual(problems('sum by (instance) (rate(lectern_joins_total{result!="ok"}[5m])) > 0'), []);
  assert.match(problems('rate(lectern_jions_total[5m])')[0], /nothing prints lectern_jions_total/);
  assert.match(problems('lectern_joins_total{outcome="ok"}')[0], /no label outcome/);
  assert.match(problems('lectern_recordings_ended_total{result=~"failed|torn"}')[0], /result="torn"/);
  assert.match(problems('sum by (worker) (lectern_rooms)')[0], /label worker/);
  assert.match(problems('sum(rate(lectern_rooms[5m])')[0], /no PromQL/);
  assert.match(problems('rate(lectern_join_seconds[5m])')[0], /nothing prints/, 'a histogram is asked by its buckets');
});

test('Prometheus rules: each is whole, and looks at what is there', () => {
  const alerts = rules.groups.flatMap(({ rules }) => rules);
  assert.ok(alerts.length >= 15);
  assert.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length);
  for (const { alert, expr, labels, annotations, for: pending, ...rest } of alerts) {
    assert.match(alert, /^Lectern[A-Z]\w+$/);
    assert.deepEqual(problems(expr), [], alert);
    assert.ok(['page', 'ticket'].includes(labels.severity), alert);
    assert.ok(annotations.summary && annotations.description, alert);
    assert.ok(pending === undefined || /^\d+[mh]$/.test(pending), alert);
    assert.deepEqual(rest, {}, alert);
    const words = `${annotations.summary} ${annotations.description}`;
    for (const [, name] of words.matchAll(/`(lectern_\w+)`/g))
      assert.ok(series.has(name) || series.has(`${name}_count`), `${alert}: ${name}`);
    const grouped = new Set(read(expr).groups.flatMap(({ names }) => names));
    for (const [, label] of words.matchAll(/\$labels\.(\w+)/g))
      assert.ok(grouped.size === 0 || grouped.has(label), `${alert} loses the label ${label}`);
  }
});

test('Grafana dashboards: each panel looks at what is there', () => {
  assert.equal(dashboards.length, 3);
  assert.equal(new Set(dashboards.map(({ uid }) => uid)).size, 3);
  for (const { name, uid, title, panels, templating } of dashboards) {
    assert.equal(name, `${uid}.json`);
    assert.deepEqual(
      templating.list.map((variable) => variable.name),
      ['source', 'instance'],
    );
    const graphs = panels.filter(({ type }) => type !== 'row');
    assert.ok(graphs.length >= 8, title);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    for (const panel of graphs) {
      assert.ok(panel.targets.length > 0, panel.title);
      for (const { expr, legendFormat } of panel.targets) {
        assert.deepEqual(problems(expr), [], `${title}, ${panel.title}`);
        // What several servers print is told apart, or summed.
        const grouped = read(expr).groups.flatMap(({ names }) => names);
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
          assert.ok(grouped.length === 0 || grouped.includes(label), `${title}, ${panel.title}: ${legendFormat}`);
      }
      const { x, w } = panel.gridPos;
      assert.ok(x + w <= 24, panel.title);
    }
  }
});

test('what the operator is told to watch is there', () => {
  const text = readFileSync(path(root, 'docs/operations.md'), 'utf8');
  const names = new Set([...text.matchAll(/`(lectern_[a-z_]+)/g)].map(([, name]) => name));
  assert.ok(names.size > 15);
  for (const name of names) assert.ok(series.has(name) || series.has(`${name}_count`), name);
});

test('how full the disk is, and that a recording was refused for it', { timeout: 30_000 }, async () => {
  const stat = statfsSync(server.folder);
  const metrics = await until('the disk is measured', async () => {
    const metrics = await server.metrics();
    return metrics.get('lectern_data_disk_bytes') > 0 && metrics;
  });
  assert.equal(metrics.get('lectern_data_disk_bytes'), stat.blocks * stat.bsize);
  const free = metrics.get('lectern_data_free_bytes');
  assert.ok(free > 0 && free < metrics.get('lectern_data_disk_bytes'));

  const token = await server.token({ room: 'full', identity: 'ada', role: 'teacher' });
  const socket = io(server.url, { auth: { token }, reconnection: false, transports: ['websocket'] });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const ask = (event, payload) => socket.timeout(10_000).emitWithAck(event, payload);
  assert.ok((await ask('join', { version: 1 })).data);
  assert.equal((await ask('record', { action: 'start' })).error.code, 'unavailable');
  socket.disconnect();
  assert.equal((await server.metrics()).get('lectern_recordings_refused_total{reason="disk-full"}'), 1);
});
