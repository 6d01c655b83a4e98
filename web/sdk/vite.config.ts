import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    target: 'es2022',
    emptyOutDir: false,
    sourcemap: false,
    lib: {
      entry: 'src/index.ts',
      name: 'Tipring',
      formats: ['es', 'iife'],
      fileName: (format) => (format === 'es' ? 'tipring.js' : 'tipring.iife.js'),
    },
  },
});
