/** `/openapi.json`: the API as its routes describe themselves. @see OpenAPI 3.1 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { DescribedRoute } from './route.ts'

const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string().describe('What is wrong, in one sentence.'),
  code: z.string().describe('The same for the same mistake, for programs.'),
  hint: z.string().optional().describe('The way out.'),
})

/** Routes whose registration comes before this one are in it, and those after too: it is made when it is asked for. */
export function registerOpenApi(app: FastifyInstance): void {
  let made: object | undefined
  app.get('/openapi.json', { config: { access: 'public' } }, () => {
    made ??= openApi(app.apiRoutes)
    return made
  })
}

function openApi(routes: readonly DescribedRoute[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Agnes inbox', version: '1', description: 'What the admin pages show, for programs.' },
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'A key of "agnes keys create --scope read" (or admin).' },
      },
      schemas: { Problem: schemaOf(problem) },
    },
  }
}

function operation(route: DescribedRoute): object {
  const { method, path, summary, description, access, query, params, answer, otherTypes = [] } = route
  return {
    operationId: `${method.toLowerCase()}${path.replace(/\{|\}/g, '').replace(/[^a-zA-Z]+(.)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    description: `${description === undefined ? '' : `${description}\n\n`}Takes a key with scope \`${access}\`.`,
    parameters: [...parametersOf('path', params), ...parametersOf('query', query)],
    responses: {
      200: {
        description: 'The answer.',
        content: {
          'application/json': { schema: schemaOf(answer) },
          ...Object.fromEntries(otherTypes.map((type) => [type, { schema: { type: 'string' } }])),
        },
      },
      default: {
        description: 'What is wrong, and what to do about it (RFC 9457).',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function parametersOf(place: 'path' | 'query', schema: z.ZodObject | undefined): object[] {
  return Object.entries(schema?.shape ?? {}).map(([name, field]) => {
    const { description, ...rest } = schemaOf(field as z.ZodType)
    return {
      name,
      in: place,
      ...(description === undefined ? {} : { description }),
      required: place === 'path' || !(field as z.ZodType).safeParse(undefined).success,
      schema: rest,
    }
  })
}

function schemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' }) as Record<string, unknown>
  return rest
}
