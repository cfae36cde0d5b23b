/**
 * Turns the .proto files into code, before the TypeScript compiler runs. For each of the two schema folders it writes:
 *
 * - `dist/<folder>/generated.static.js`: protobufjs' static code, with `generated.static.d.ts` beside the sources;
 * - `<folder>/generated.<package>.ts`: for each message an interface and its codec (see codec.ts).
 *
 * Does nothing when neither the inputs nor the outputs have changed.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import pbjs from 'protobufjs-cli/pbjs.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folders = ['storage/proto', 'cluster/proto'].map((folder) => ({
  folder,
  packages: readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.proto'))
    .map((name) => name.slice(0, -'.proto'.length))
    .sort(),
}));
const folderOf = new Map(folders.flatMap(({ folder, packages }) => packages.map((name) => [name, folder])));

const inputs = [
  join(root, 'package-lock.json'),
  fileURLToPath(import.meta.url),
  ...[...folderOf].map(([name, folder]) => join(root, folder, `${name}.proto`)),
];
const outputs = folders.flatMap(({ folder, packages }) => [
  join(root, 'dist', folder, 'generated.static.js'),
  join(root, folder, 'generated.static.d.ts'),
  ...packages.map((name) => join(root, folder, `generated.${name}.ts`)),
]);
const hash = createHash('sha256');
for (const input of inputs) hash.update(readFileSync(input));
const digest = hash.digest('hex');
const stamp = join(root, 'dist/generated.stamp');

if (!(outputs.every(existsSync) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest)) {
  const schema = await loadSchema();
  for (const { folder, packages } of folders) {
    write(join(root, folder, 'generated.static.d.ts'), staticDeclarations(schema, folder, packages));
    for (const name of packages)
      write(join(root, folder, `generated.${name}.ts`), packageModule(schema, name));
    write(join(root, 'dist', folder, 'generated.static.js'), await staticCode(folder, packages));
  }
  write(stamp, digest);
}

async function loadSchema() {
  const schema = new protobuf.Root();
  schema.resolvePath = (_origin, target) =>
    join(root, folderOf.get(target.slice(0, -'.proto'.length)) ?? '', target);
  await schema.load(
    [...folderOf.keys()].map((name) => `${name}.proto`),
    { alternateCommentMode: true },
  );
  return schema.resolveAll();
}

/** Written aside and renamed, so that a build beside this one never reads half a file. */
function write(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, text);
  renameSync(aside, file);
}

function importPath(fromFolder, target) {
  const path = relative(fromFolder, target).replaceAll('\\', '/');
  return path.startsWith('.') ? path : `./${path}`;
}

function staticDeclarations(schema, folder, packages) {
  const codec = importPath(folder, 'storage/proto/codec.js');
  const declarations = packages.map((name) => {
    const types = schema.lookup(name).nestedArray.filter((item) => item instanceof protobuf.Type);
    const members = types.map((type) => `  readonly ${type.name}: StaticMessage;\n`);
    return `export declare const ${name}: {\n${members.join('')}};\n`;
  });
  return `import type { StaticMessage } from '${codec}';\n\n${declarations.join('\n')}`;
}

function staticCode(folder, packages) {
  const without = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'comments', 'service'];
  const options = [
    '-t',
    'static-module',
    '-w',
    'esm',
    '-r',
    folder,
    ...without.map((part) => `--no-${part}`),
  ];
  const paths = folders.flatMap((each) => ['-p', join(root, each.folder)]);
  const files = packages.map((name) => join(root, folder, `${name}.proto`));
  return new Promise((resolve, reject) => {
    pbjs.main([...options, ...paths, ...files], (error, code) => (error ? reject(error) : resolve(code)));
  });
}

function packageModule(schema, name) {
  const folder = folderOf.get(name);
  const items = schema.lookup(name).nestedArray;
  const kinds = new Set(['message']);
  const imports = new Set();
  const typeName = (type) => {
    const owner = type.parent.name;
    if (owner === name) return type.name;
    imports.add(owner);
    return `${owner}.${type.name}`;
  };
  const use = (kind) => {
    kinds.add(kind);
    return kind;
  };
  const body = [];
  for (const item of inOrderOfUse(items)) {
    body.push(item instanceof protobuf.Enum ? enumCode(item) : messageCode(item, typeName, use, name));
  }
  const lines = [
    `// Generated from ${name}.proto.`,
    ...[...imports]
      .sort()
      .map(
        (owner) =>
          `import * as ${owner} from '${importPath(folder, `${folderOf.get(owner)}/generated.${owner}.js`)}';`,
      ),
    `import { ${[...kinds].sort().join(', ')} } from '${importPath(folder, 'storage/proto/codec.js')}';`,
    `import { ${name} as wire } from './generated.static.js';`,
  ];
  return `${lines.join('\n')}\n\n${body.join('\n')}`;
}

/** A message after the messages that it holds: they are constants. */
function inOrderOfUse(items) {
  const ordered = new Set();
  const visit = (item) => {
    if (ordered.has(item)) return;
    if (item instanceof protobuf.Type) {
      for (const field of item.fieldsArray) if (items.includes(field.resolvedType)) visit(field.resolvedType);
    }
    ordered.add(item);
  };
  for (const item of items) visit(item);
  return ordered;
}

function documentation(item, indent) {
  return item.comment ? `${indent}/** ${item.comment.replaceAll('\n', ' ')} */\n` : '';
}

function enumCode(item) {
  const values = Object.entries(item.values).map(([name, value]) => `  ${name}: ${value},\n`);
  return `${documentation(item, '')}export const ${item.name} = {\n${values.join('')}} as const;
export type ${item.name} = (typeof ${item.name})[keyof typeof ${item.name}];\n`;
}

function messageCode(type, typeName, use, packageName) {
  const members = [];
  const codecs = [];
  for (const field of type.fieldsArray) {
    const { resolvedType } = field;
    let valueType;
    let codec;
    if (resolvedType instanceof protobuf.Type) {
      valueType = typeName(resolvedType);
      codec = `${use(field.repeated ? 'messages' : 'submessage')}(${valueType})`;
    } else {
      if (resolvedType instanceof protobuf.Enum) {
        valueType = typeName(resolvedType);
        codec = `${use('oneOf')}(${valueType})`;
      } else {
        // The standard option that says "not a number in JavaScript" marks the oracle's timestamps.
        const wide = field.options?.jstype === 'JS_STRING';
        valueType = wide ? 'bigint' : scalarType(field.type);
        codec = use(wide ? 'timestamp' : field.type);
      }
      if (field.repeated) codec = `${use('repeated')}(${codec})`;
    }
    const optional = resolvedType instanceof protobuf.Type && !field.repeated;
    const memberType = field.repeated ? `readonly ${valueType}[]` : valueType;
    members.push(
      `${documentation(field, '  ')}  readonly ${field.name}${optional ? '?' : ''}: ${memberType}${optional ? ' | undefined' : ''};\n`,
    );
    codecs.push(`  ${field.name}: ${codec},\n`);
  }
  const shape = members.length > 0 ? `{\n${members.join('')}}` : 'Record<never, never>';
  const declaration =
    members.length > 0 ? `export interface ${type.name} ${shape}` : `export type ${type.name} = ${shape};`;
  const table = codecs.length > 0 ? `{\n${codecs.join('')}}` : '{}';
  return `${documentation(type, '')}${declaration}
export const ${type.name} = message<${type.name}>('${packageName}.${type.name}', wire.${type.name}, ${table});\n`;
}

function scalarType(type) {
  return { bool: 'boolean', string: 'string', bytes: 'Uint8Array' }[type] ?? 'number';
}
