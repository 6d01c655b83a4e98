/// <reference types="svelte" />
/// <reference types="vite/client" />

declare module 'virtual:operations' {
  import type { Operation } from '../operations';
  const operations: Operation[];
  export default operations;
}
