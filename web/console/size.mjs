// Fails when the console without the page "API" grows beyond its budget.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const limit = 150 * 1024;
const files = readdirSync('dist/assets').filter((f) => /\.(js|css)$/.test(f) && !/^Api-/.test(f));
const size = files.reduce((sum, f) => sum + gzipSync(readFileSync(`dist/assets/${f}`), { level: 9 }).length, 0);
console.log(`console: ${(size / 1024).toFixed(1)} kB gzip without the page API`);
if (size > limit) {
  console.error(`that is more than ${limit / 1024} kB`);
  process.exit(1);
}
