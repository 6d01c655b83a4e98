/** Takes a listener away again. */
export type Unsubscribe = () => void;

type Events = { [name: string]: unknown[] };

// Listeners are kept without their types; `on` and `emit` have them.
type Listener = (...args: any[]) => void;

/** Typed events. A listener that throws does not keep others from hearing. */
export class Emitter<E extends Events> {
  private listeners = new Map<keyof E, Set<Listener>>();

  on<K extends keyof E>(name: K, listener: (...args: E[K]) => void, options: { signal?: AbortSignal } = {}): Unsubscribe {
    let set = this.listeners.get(name);
    if (!set) this.listeners.set(name, (set = new Set()));
    set.add(listener as Listener);
    const off = () => void set.delete(listener as Listener);
    options.signal?.addEventListener('abort', off, { once: true });
    return off;
  }

  protected emit<K extends keyof E>(name: K, ...args: E[K]): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
