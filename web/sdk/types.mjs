// Writes src/frames.ts: the frames of openapi.yaml that the SDK speaks, as types.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';
import { parse } from 'yaml';

const all = parse(readFileSync('../../openapi.yaml', 'utf8')).components.schemas;
const schemas = Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith('Page')));
const document = { openapi: '3.0.3', info: { title: 'frames', version: '1' }, paths: {}, components: { schemas } };
const text = astToString(await openapiTS(document, { exportType: false }));
const frames = text.slice(text.indexOf('export interface components'), text.indexOf('export type $defs'));
const file = `/** Made of openapi.yaml by types.mjs. */\n${frames}`;
if (!existsSync('src/frames.ts') || readFileSync('src/frames.ts', 'utf8') !== file) writeFileSync('src/frames.ts', file);
