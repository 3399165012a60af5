// Holds the KQL queries of alerts to Microsoft's own parser (npm @kusto/language-service-next), syntax and the columns used.
// Reads NDJSON on stdin, as check_queries.py does. The queries that are shipped for Sentinel are held to the tables that are
// shipped beside them. usage: node check_kql.js MODULES < alerts.ndjson; node check_kql.js MODULES packaging/sentinel
"use strict";
const fs = require("fs");
const path = require("path");

const modules = path.resolve(process.argv[2], "node_modules", "@kusto", "language-service-next");
require(path.join(modules, "bridge.js"));
require(path.join(modules, "Kusto.Language.Bridge.js"));
const Kusto = globalThis.Kusto;

// The columns that the queries use, with their types, from Microsoft's references of these tables.
const network = "Timestamp:datetime, DeviceName:string, ActionType:string, RemoteIP:string, RemotePort:int, RemoteUrl:string, "
    + "LocalIP:string, LocalPort:int, Protocol:string, InitiatingProcessFileName:string, InitiatingProcessFolderPath:string, "
    + "InitiatingProcessSHA256:string, InitiatingProcessId:long, InitiatingProcessCommandLine:string, "
    + "InitiatingProcessAccountName:string, AdditionalFields:string";
const tables = {
    DeviceNetworkEvents: network,
    DeviceProcessEvents: "Timestamp:datetime, DeviceName:string, SHA256:string, FolderPath:string, FileName:string, "
        + "AccountName:string, ProcessCommandLine:string, InitiatingProcessFileName:string",
    DeviceEvents: "Timestamp:datetime, DeviceName:string, ActionType:string, AdditionalFields:string, "
        + "InitiatingProcessFolderPath:string, InitiatingProcessSHA256:string",
    DnsEvents: "TimeGenerated:datetime, Computer:string, ClientIP:string, Name:string, IPAddresses:string, QueryType:string, "
        + "ResultCode:int",
    CommonSecurityLog: "TimeGenerated:datetime, Protocol:string, SourceIP:string, DestinationIP:string",
};
const shipped = process.argv[3];
if (shipped) {
    for (const {properties: {schema}} of read("tables.json").resources) {
        tables[schema.name] = schema.columns.map(({name, type}) => `${name}:${type.toLowerCase()}`).join(", ");
    }
}
function read(name) {
    return JSON.parse(fs.readFileSync(path.join(shipped, name), "utf8"));
}

const symbols = Object.entries(tables).map(([name, columns]) =>
    Kusto.Language.Symbols.TableSymbol.From(`(${columns})`).WithName(name));
const database = new Kusto.Language.Symbols.DatabaseSymbol.ctor("db", symbols);
const globals = Kusto.Language.GlobalState.Default.WithDatabase(database);

const seen = new Set();
let wrong = 0;
function check(title, query) {
    if (seen.has(query)) return;
    seen.add(query);
    const diagnostics = Kusto.Language.KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
    for (let i = 0; i < diagnostics.Count; i++) {
        const diagnostic = diagnostics.getItem(i);
        if (diagnostic.Severity === "Suggestion") continue;
        if (wrong++ < 5) console.error(`${title}: ${diagnostic.Severity}: ${diagnostic.Message}\n${query}\n`);
    }
}
if (shipped) {
    for (const {properties} of read("rules.json").resources) check(properties.displayName, properties.query);
    check("asim.kql", fs.readFileSync(path.join(shipped, "asim.kql"), "utf8"));
} else {
    for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
        const alert = JSON.parse(line);
        const found = (alert.queries || (alert.sonde || {}).queries || {}).kql || [];
        for (const {title, query} of found) check(title, query);
    }
}
console.log(`kql: ${seen.size} checked, ${wrong} wrong`);
process.exit(wrong || !seen.size ? 1 : 0);
