#!/usr/bin/env python3
"""Writes experts/expert-typescript/grammar.gbnf. Some rules stand in it several times, because what may stand in a function depends on
where it is: await in async functions only, break and continue in loops only. In the text below, ~ becomes "" and "-async", ^ becomes
"" and "-loop". Usage: make_typescript_grammar.py [--check] FILE"""
import sys
from pathlib import Path

import make_gbnf_names

HEAD = r'''# typescript: declarations of a module: functions, classes, types, variables, calls. Written by tools/make_typescript_grammar.py. Everything that
# this grammar makes is accepted by the TypeScript compiler (4.8) without an error of syntax; types and names are not checked.
# One thing is not ruled out: a property twice in one object (TS1117).
# A rule that ends in -async is the same within an async function, where await may stand; one that ends in -loop within a loop, where break
# and continue may.
root ::= ws (top ws)?

# Blanks and comments: ws where they may stand, sep where one must; nl ends a statement without a semicolon.
ws ::= (blank | comment)*
sep ::= (blank | comment) ws
blank ::= [ \t\n] | "\r\n"
comment ::= "//" line "\n" | "/*" ([^*] | "*"+ [^*/])* "*"+ "/"
line ::= [^\n\r\u2028\u2029]*
nl ::= " "* ("//" line)? "\r"? "\n" ws

# The module. Behind a statement without a semicolon the next one begins on a new line, with a word.
top ::= top-block (ws top)? | top-line (ws ";" (ws top)? | nl top)?
top-block ::= ("export" sep ("default" sep)?)? function-declaration | ("export" sep)? (class | interface | enum)
top-line ::= ("export" sep)? (variables | alias) | import | word-expression | ("export" sep ("default" sep)?)? overload
import ::= "import" sep ("type" sep)? (identifier | named-imports | "*" sep "as" sep identifier) sep "from" ws string
named-imports ::= "{" ws (identifier (ws "," ws identifier)* (ws ",")? ws)? "}"
function-declaration ::= "function" sep identifier signature ws body | "async" sp "function" sep identifier signature ws body-async
overload ::= "function" sep identifier signature
sp ::= [ \t]+
signature ::= ws (type-parameters ws)? parameters returns?
returns ::= ws ":" ws (type | predicate)
predicate ::= ("asserts" sp)? (identifier | "this") sp "is" sep type | "asserts" sp identifier
body ::= "{" ws (statements ws)? "}"
body-async ::= "{" ws (statements-async ws)? "}"

# Parameters: none that must be given behind one that need not.
parameters ::= "(" ws (parameter-list | "this" annotation ws ("," ws parameter-list?)?)? ")"
parameter-list ::= parameter (ws "," ws parameter)* (ws "," ws optional)* ((ws "," ws rest)? | ws ",") ws | optional (ws "," ws optional)* ((ws "," ws rest)? | ws ",") ws | rest ws
parameter ::= (identifier | pattern) annotation? default?
optional ::= identifier "?" annotation? | identifier annotation? default
rest ::= "..." (identifier | array-pattern) annotation?
annotation ::= ws ":" ws type
default ::= ws "=" ws assignment
pattern ::= object-pattern | array-pattern
object-pattern ::= "{" ws ((bound-property (ws "," ws bound-property)* ((ws ",")? | ws "," ws "..." identifier) | "..." identifier) ws)? "}"
bound-property ::= identifier default? | property-name ws ":" ws (identifier | pattern) default?
array-pattern ::= "[" ws ("," ws)* ((bound-element (ws "," ws bound-element)* ((ws ",")? | ws "," ws "..." identifier) | "..." identifier) ws)? "]"
bound-element ::= (identifier | pattern) default?

# Classes and interfaces.
class ::= ("abstract" sp)? "class" sep identifier type-parameters? (sep "extends" sep identifier ("." property-word)* type-arguments?)? (sep "implements" sep reference (ws "," ws reference)*)? ws "{" ws (members ws)? "}"
members ::= field (ws ";" (ws members)? | nl members)? | method (ws members)?
field ::= visibility? ("static" sp)? ("readonly" sp)? member-name ("?"? annotation | annotation? default) | visibility? member-name "!" annotation
visibility ::= ("public" | "private" | "protected") sp
method ::= visibility? ("static" sp)? (member-name signature ws body | "async" sp member-name signature ws body-async | "get" sp member-name "()" annotation? ws body | "set" sp member-name "(" identifier annotation? ")" ws body) | "constructor" constructor-parameters ws body
constructor-parameters ::= "(" ws (constructor-parameter (ws "," ws constructor-parameter)* (ws ",")? ws)? ")"
constructor-parameter ::= (visibility ("readonly" sp)? | "readonly" sp)? identifier annotation? default?
interface ::= "interface" sp identifier type-parameters? (sep "extends" sep reference (ws "," ws reference)*)? ws object-type
enum ::= ("const" sp)? "enum" sp identifier ws "{" ws ((enumerator (ws "," ws enumerator)* | text-enumerator (ws "," ws text-enumerator)*) (ws ",")? ws)? "}"
enumerator ::= property-word (ws "=" ws "-"? ("0" | [1-9] [0-9]*))?
text-enumerator ::= property-word ws "=" ws string
alias ::= "type" sp identifier type-parameters? ws "=" ws type

# Types.
type-parameters ::= "<" ws type-parameter (ws "," ws type-parameter)* (ws ",")? ws ">"
type-parameter ::= identifier (sep "extends" sep (union | function-type))? (ws "=" ws (union | function-type))?
type-arguments ::= "<" ws type (ws "," ws type)* ws ">"
type ::= union (sp "extends" sep pattern-type ws "?" ws type ws ":" ws type)? | function-type
union ::= ("|" ws)? intersection (ws "|" ws intersection)*
intersection ::= operated-type (ws "&" ws operated-type)*
operated-type ::= "keyof" sep operated-type | "readonly" sp (tuple | simple-type "[]"+) | array-type
array-type ::= simple-type ("[" ws (type ws)? "]")*
simple-type ::= reference | "void" | "null" | "true" | "false" | "this" | string | "-"? number | "`" ([^`\\$] | "$"+ ([^`\\${] | "{" ws type ws "}"))* "$"* "`" | object-type | mapped-type | tuple | "(" ws (type-parameters ws type-signature ws "=>" ws)? type ws ")" | "typeof" sep identifier ("." property-word)*
reference ::= identifier ("." property-word)* type-arguments?
tuple ::= "[" ws ((named-type (ws "," ws named-type)* (ws "," ws optional-type)* | optional-type (ws "," ws optional-type)*) (ws "," ws rest-type)? (ws ",")? ws | rest-type ws | (type (ws "," ws type)* ((ws ",")? | ws "," ws "..." array-type) | "..." array-type) ws)? "]"
named-type ::= identifier annotation
optional-type ::= identifier "?" annotation
rest-type ::= "..." identifier ws ":" ws array-type
function-type ::= ("abstract" sp)? "new" ws type-parameters? type-signature ws "=>" ws type | type-signature ws "=>" ws (type | predicate)
type-signature ::= "(" ws (name-list | "this" annotation ws ("," ws name-list?)?)? ")"
name-list ::= required-name (ws "," ws required-name)* (ws "," ws optional-name)* ((ws "," ws rest)? | ws ",") ws | optional-name (ws "," ws optional-name)* ((ws "," ws rest)? | ws ",") ws | rest ws
required-name ::= identifier annotation?
optional-name ::= identifier "?" annotation?
object-type ::= "{" ws (type-members ws)? "}"
type-members ::= type-member (ws [;,] (ws type-members)? | nl word-type-members)?
word-type-members ::= word-type-member (ws [;,] (ws type-members)? | nl word-type-members)?
type-member ::= word-type-member | ("readonly" sp)? "[" identifier ws ":" ws ("string" | "number" | "symbol") "]" annotation | "new" ws type-parameters? type-signature annotation | type-parameters? type-signature returns?
word-type-member ::= ("readonly" sp)? property-name "?"? annotation | property-name "?"? type-parameters? type-signature returns?
mapped-type ::= "{" ws ([+-]? "readonly" sp)? "[" identifier sep "in" sep type (sep "as" sep type)? ws "]" ([+-]? "?")? annotation ws (";" ws)? "}"
# Behind extends, where a part of the type may get a name.
pattern-type ::= inferred (ws "|" ws inferred)* | "(" ("..." identifier ": " inferred)? ")" ws "=>" ws inferred
inferred ::= "infer " identifier | "readonly "? (identifier ("." property-word)* ("<" ws inferred (ws "," ws inferred)* ws ">")? | "(infer " identifier ")") "[]" | inferred-one
inferred-one ::= identifier ("." property-word)* ("<" ws inferred (ws "," ws inferred)* ws ">")? | "void" | "null" | "true" | "false" | string | number | "[" ws (inferred (ws "," ws inferred)* (ws "," ws "..." inferred-one "[]")? ws)? "]"
'''

EXPRESSIONS = r'''
# Expressions~.
variables~ ::= "const" sep constant~ (ws "," ws constant~)* | ("let" | "var") sep variable~ (ws "," ws variable~)*
constant~ ::= (identifier | pattern) annotation? ws "=" ws assignment~
variable~ ::= identifier annotation? (ws "=" ws assignment~)? | pattern annotation? ws "=" ws assignment~
assignment~ ::= arrow | postfix~ "!" cast? | (array~ | object~ | string) sp "as" sp "const" | target~ ws assignment-operator ws assignment~ | binary~ (conditional~ | cast)?
# A branch in parentheses would be read as an arrow's parameters, if an arrow came behind the colon.
conditional~ ::= ws "?" ws (branch~ ws ":" ws branch~ | plain-branch~ ws ":" ws arrow)
plain-branch~ ::= ((identifier | "this" | "null" | "true" | "false" | string | template~ | array~ | object~) suffix~* | number) operation~* ((ws ("||" | "&&") ws sum~)* | (ws "??" ws sum~)*)
branch~ ::= binary~ conditional~?
binary~ ::= sum~ ((ws ("||" | "&&") ws sum~)* | (ws "??" ws sum~)*)
sum~ ::= unary~ operation~*
operation~ ::= ws operator ws unary~ | ws [-+] (sep unary~ | safe-postfix~) | ws "/" (blank ws unary~ | safe-postfix~) | sep ("instanceof" | "in") sep unary~
unary~ ::= postfix~ (ws "**" ws unary~)? | update~ | prefixed~
prefixed~ ::= [!~] single~ | [-+] safe-postfix~ | ("typeof" | "void"AWAIT) sep single~ | "delete" sep target-member~
single~ ::= postfix~ | prefixed~
update~ ::= ("++" | "--") (identifier | target-member~) | (identifier | target-member~) ("++" | "--")
target~ ::= identifier | target-member~ | "[" ws target~ (ws "," ws target~)* ws "]"
target-member~ ::= target-base~ suffix~* access~
target-base~ ::= identifier | "this" | "(" ws assignment~ ws ")"
access~ ::= "!"? (ws "." property-word | "[" ws assignment~ ws "]")
# A blank behind an exclamation mark keeps it apart from an equals sign.
postfix~ ::= primary~ suffix~* "! "? | number
safe-postfix~ ::= safe-primary~ suffix~* "! "? | number
suffix~ ::= access~ | ws "?." (property-word | "[" ws assignment~ ws "]" | arguments~) | (type-arguments | "!")? arguments~
arguments~ ::= "(" ws (argument~ (ws "," ws argument~)* (ws ",")? ws)? ")"
argument~ ::= "..."? assignment~
primary~ ::= safe-primary~ | regex | object~ | function-expression
safe-primary~ ::= identifier template~? | "arguments" | "this" | "null" | "true" | "false" | "super" (arguments~ | "." property-word) | string | template~ | "(" ws assignment~ ws ")" | array~ | "new" sep (identifier ("." property-word)* type-arguments? | "(" ws assignment~ ws ")") arguments~
array~ ::= "[" ws (argument~ (ws "," ws argument~)* (ws ",")? ws)? "]"
object~ ::= "{" ws (property~ (ws "," ws property~)* (ws ",")? ws)? "}"
property~ ::= identifier | (property-name | "[" ws assignment~ ws "]") ws ":" ws assignment~ | "..." assignment~ | (property-name | "[" ws assignment~ ws "]") signature ws body | "async" sp property-name signature ws body-async | "get" sp property-name "()" annotation? ws body
template~ ::= "`" ([^`\\$] | escape | "$"+ ([^`\\${] | escape | "{" ws assignment~ ws "}"))* "$"* "`"
# What may begin a statement: no brace, no function; word-: with a word, behind a line without a semicolon.
expression-statement~ ::= target~ ws assignment-operator ws assignment~ | update~ | start~
word-expression~ ::= "delete" sep target-member~ | "void" sep single~ | word-target~ ws assignment-operator ws assignment~ | word-target~ ("++" | "--") | word-start~AWAITSTART
word-target~ ::= identifier | (identifier | "this") suffix~* access~
word-start~ ::= (identifier | "this" | "super" arguments~ | "new" sep identifier ("." property-word)* type-arguments? arguments~) suffix~* "! "? operation~* ((ws ("||" | "&&") ws sum~)* | (ws "??" ws sum~)*) conditional~?
start~ ::= (safe-postfix~ | prefixed~) operation~* ((ws ("||" | "&&") ws sum~)* | (ws "??" ws sum~)*) (conditional~ | cast)?
'''

ARROWS = r'''
# Functions as values. An arrow's parameters and its body are no longer within the async function around it.
arrow ::= (identifier | type-parameters? parameters returns?) " "* "=>" ws (body | arrow-value) | "async" sp (identifier | type-parameters? parameters returns?) " "* "=>" ws (body-async | arrow-value-async)
arrow-value ::= arrow | safe-postfix "!" | target ws assignment-operator ws assignment | start | update | regex suffix*
arrow-value-async ::= arrow | start-async
function-expression ::= "function" (sep identifier)? signature ws body | "async" sp "function" (sep identifier)? signature ws body-async
cast ::= (sp "as" sep union)+ | sp "as" sep function-type
operator ::= "*" | "%" | "<" | ">" | "<=" | ">=" | "==" | "!=" | "===" | "!==" | "&" | "|" | "^" | "<<" | ">>" | ">>>"
assignment-operator ::= "=" | "+=" | "-=" | "*=" | "/=" | "%=" | "**=" | "<<=" | ">>=" | ">>>=" | "&=" | "|=" | "^=" | "&&=" | "||=" | "??="
'''

STATEMENTS = r'''
# Statements~^: those that end by themselves, and those that end with a semicolon or a line.
statements~^ ::= block-statement~^ (ws statements~^)? | (line-statement~^ | expression-statement~) (ws ";" (ws statements~^)? | nl word-statements~^)?
word-statements~^ ::= word-block-statement~^ (ws statements~^)? | (line-statement~^ | word-expression~) (ws ";" (ws statements~^)? | nl word-statements~^)?
block~^ ::= "{" ws (statements~^ ws)? "}"
block-statement~^ ::= word-block-statement~^ | block~^ | ";"
word-block-statement~^ ::= function-declaration | class | interface | compound~^
else~^ ::= "if" ws condition~ ws (closed~^ ws | short~^ nl) "else"
compound~^ ::= "if" ws condition~ ws closed~^ | else~^ (ws block~^ | sep compound~^ | sep short~^ ws ";") | loop~ ws (block~-loop | compound~-loop | short~-loop ws ";") | switch~^ | "try" ws block~^ (ws catch~^ (ws finally~^)? | ws finally~^)
closed~^ ::= block~^ | compound~^ | short~^ ws ";"
line-statement~^ ::= variables~ | alias | return~JUMP | ("if" ws condition~ ws | else~^ sep) OPEN | loop~ ws short~-loop | "do" ws block~-loop ws "while" ws condition~
short~^ ::= return~ | expression-statement~JUMP
return~ ::= "return" (sp assignment~)? | "throw" sp assignment~
condition~ ::= "(" ws assignment~ ws ")"
loop~ ::= "while" ws condition~ | "for" ws "(" ws (("let" | "var" | "const") sep identifier annotation? ws "=" ws for-value~ (ws "," ws identifier annotation? ws "=" ws for-value~)* ws ";" ws (assignment~ ws)? ";" ws (step~ (ws "," ws step~)* ws)? | (("const" | "let" | "var") sep (identifier | pattern) | identifier) sep ("of" | "in") sep assignment~ ws | for-start~? ";" ws (assignment~ ws)? ";" ws (step~ (ws "," ws step~)* ws)?) ")"AWAITFOR
for-value~ ::= safe-postfix~ (ws (operator | [-+/]) blank ws safe-postfix~)* | [-+] number
for-start~ ::= target~ ws assignment-operator ws for-value~ (ws "," ws target~ ws assignment-operator ws for-value~)* ws
step~ ::= update~ | target~ ws assignment-operator ws assignment~
switch~^ ::= "switch" ws condition~ ws "{" ws (case~^ ws)* ("default" ws ":" (ws case-statements~^)? ws)? "}"
case~^ ::= "case" sep assignment~ ws ":" (ws case-statements~^)?
case-block~^ ::= "{" ws (case-statements~^ ws)? "}" | ";"
case-statements~^ ::= (word-block-statement~^ | case-block~^) (ws case-statements~^)? | (line-statement~^ | expression-statement~BREAK) (ws ";" (ws case-statements~^)? | nl case-words~^?)
case-words~^ ::= word-block-statement~^ (ws case-statements~^)? | (line-statement~^ | word-expression~BREAK) (ws ";" (ws case-statements~^)? | nl case-words~^?)
catch~^ ::= "catch" (ws "(" ws identifier (ws ":" ws ("unknown" | "any"))? ws ")")? ws block~^
finally~^ ::= "finally" ws block~^
'''

TAIL = r'''
# Literals.
# No digit stands behind zero, which it would make octal.
string ::= "'" ([^'\\\n\r\u2028\u2029] | zero* escape | zero+ [^'\\\n\r\u2028\u20290-9])* zero* "'" | "\"" ([^"\\\n\r\u2028\u2029] | zero* escape | zero+ [^"\\\n\r\u2028\u20290-9])* zero* "\""
zero ::= "\\0"
escape ::= "\\" "\r"? "\n" | "\\" ([^0-9uxa-zA-Z\n\r\u2028\u2029] | [nrtbfvdDwWsSpPcki] | "u" hex hex hex hex | "u{" hex{1,5} "}" | "x" hex hex)
hex ::= [0-9a-fA-F]
number ::= ("0" | [1-9] ("_"? [0-9])*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)? | "0" [xX] hex+ | "0" [bB] [01]+ | "0" [oO] [0-7]+ | ("0" | [1-9] [0-9]*) "n"
regex ::= "/" ([^/\\\[*\n\r\u2028\u2029] | regex-part) ([^/\\\[\n\r\u2028\u2029] | regex-part)* "/" [dgimsuy]*
regex-part ::= "\\" [^\n\r\u2028\u2029] | "[" ([^\]\\\n\r\u2028\u2029] | "\\" [^\n\r\u2028\u2029])* "]"

# Names.
property-name ::= property-word | string | "0" | [1-9] [0-9]*
property-word ::= [a-zA-Z_$] [a-zA-Z0-9_$]*
# names-exact identifier first [a-zA-Z_$] then [a-zA-Z0-9_$]: arguments as asserts async await break case catch class const
#   continue debugger default delete do else enum eval export extends false finally for function if implements import in
#   infer instanceof interface is keyof let new null of package private protected public readonly return satisfies
#   static super switch this throw true try typeof unique var void while with yield abstract

# names-exact member-word first [a-zA-Z_$] then [a-zA-Z0-9_$]: abstract accessor async constructor declare get in
#   override private protected public readonly set static

member-name ::= member-word | string
'''


def with_variants(text, loops):
    out = ""
    for loop in ("", "-loop") if loops else ("",):
        for inside in ("", "-async"):
            part = text.replace("JUMP", ' | "break" | "continue"' if loop else "")
            part = part.replace("OPEN", "short~^")
            part = part.replace("BREAK", "" if loop else ' | "break"')
            part = part.replace('AWAITSTART', ' | "await" sep single-async operation-async*' if inside else "")
            part = part.replace("AWAITFOR", ' | "for" sep "await" ws "(" ws ("const" | "let") sep (identifier | pattern) sep "of" sep assignment~ ws ")"' if inside else "")
            part = part.replace("AWAIT", ' | "await"' if inside else "")
            out += part.replace("~-loop", inside + "-loop").replace("~^", inside + loop).replace("[!~]", "[!\0]").replace("~", inside).replace("\0", "~")
    return out


def main(arguments):
    check = "--check" in arguments
    file = Path([a for a in arguments if a != "--check"][0])
    text = HEAD + with_variants(EXPRESSIONS, False) + ARROWS + with_variants(STATEMENTS, True) + TAIL
    lines, seen = [], set()
    for line in text.split("\n"):  # rules of the statements that do not depend on loops come out twice
        if "::=" in line:
            name = line.split()[0]
            if name in seen:
                continue
            seen.add(name)
        lines.append(line)
    text = make_gbnf_names.DIRECTIVE.sub(make_gbnf_names.expand, "\n".join(lines))
    if check and file.read_text(encoding="utf-8") != text:
        print(f"{file} is not up to date, run tools/make_typescript_grammar.py")
        return 1
    if not check:
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
