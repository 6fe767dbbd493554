import type { Server } from 'node:http';

export declare const CSP: string;
export declare function pageServer(dir: string, options?: { readonly isolated?: boolean }): Server;
