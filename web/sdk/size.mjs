// The SDK stays small: 12 kB gzip.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const limit = 12 * 1024;
for (const file of ['dist/tipring.js', 'dist/tipring.iife.js']) {
  const size = gzipSync(readFileSync(file), { level: 9 }).length;
  console.log(`${file}: ${size} bytes gzip`);
  if (size > limit) {
    console.error(`${file} is larger than ${limit} bytes`);
    process.exit(1);
  }
}
