/* What the page "API" needs of an OpenAPI document, resolved and small. */

export interface Parameter {
  name: string;
  in: 'path' | 'query';
  required: boolean;
  description: string;
  values: string[];
  example: string;
}

export interface Operation {
  id: string;
  tag: string;
  method: string;
  path: string;
  summary: string;
  description: string;
  scope: string;
  parameters: Parameter[];
  /** The body to begin with, as JSON; "" if the operation takes none. */
  body: string;
}

interface Node {
  [key: string]: any; // eslint-disable-line @typescript-eslint/no-explicit-any
}

/** The operations of a document, in its order. */
export function operationsOf(doc: Node): Operation[] {
  const resolve = (v: Node | undefined): Node => {
    if (typeof v?.$ref !== 'string') return v ?? {};
    return resolve(v.$ref.slice(2).split('/').reduce<Node>((at, key) => at[key], doc));
  };
  const parameter = (raw: Node): Parameter => {
    const p = resolve(raw);
    const schema = resolve(p.schema);
    const values = resolve(schema.items).enum ?? schema.enum ?? [];
    return {
      name: p.name, in: p.in, required: p.required ?? false, description: p.description ?? '', values,
      example: String(p.example ?? schema.example ?? schema.default ?? ''),
    };
  };
  const body = (op: Node): string => {
    const content = resolve(op.requestBody).content?.['application/json'];
    if (!content) return '';
    const example = Object.values<Node>(content.examples ?? {})[0];
    return JSON.stringify(resolve(example).value ?? content.example ?? {}, null, 2);
  };
  const list: Operation[] = [];
  for (const [path, item] of Object.entries<Node>(doc.paths)) {
    for (const method of ['get', 'post', 'patch', 'put', 'delete']) {
      const op = item[method];
      if (!op) continue;
      const all = [...(item.parameters ?? []), ...(op.parameters ?? [])].map(parameter);
      list.push({
        id: op.operationId, tag: op.tags?.[0] ?? '', method: method.toUpperCase(), path, summary: op.summary ?? '',
        description: op.description ?? '', scope: op['x-scope'] ?? '', parameters: all.filter((p) => p.in === 'path' || p.in === 'query'),
        body: body(op),
      });
    }
  }
  return list;
}
