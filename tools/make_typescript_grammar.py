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
root ::= _ (top _)?

# Blanks and comments: _ where they may stand, __ where one must; nl ends a statement without a semicolon.
_ ::= (blank | comment)*
__ ::= (blank | comment) _
blank ::= [ \t\n] | "\r\n"
comment ::= "//" line "\n" | "/*" ([^*] | "*"+ [^*/])* "*"+ "/"
line ::= [^\n\r\u2028\u2029]*
nl ::= " "* ("//" line)? "\r"? "\n" _

# The module. Behind a statement without a semicolon the next one begins on a new line, with a word.
top ::= top-block (_ top)? | top-line (_ ";" (_ top)? | nl top)?
top-block ::= ("export" __ ("default" __)?)? function-declaration | ("export" __)? (class | interface | enum)
top-line ::= ("export" __)? (variables | alias) | import | word-expression | ("export" __ ("default" __)?)? overload
import ::= "import" __ ("type" __)? (identifier | named-imports | "*" __ "as" __ identifier) __ "from" _ string
named-imports ::= "{" _ (identifier (_ "," _ identifier)* (_ ",")? _)? "}"
function-declaration ::= "function" __ identifier signature _ body | "async" sp "function" __ identifier signature _ body-async
overload ::= "function" __ identifier signature
sp ::= [ \t]+
signature ::= _ (type-parameters _)? parameters returns?
returns ::= _ ":" _ (type | predicate)
predicate ::= ("asserts" sp)? (identifier | "this") sp "is" __ type | "asserts" sp identifier
body ::= "{" _ (statements _)? "}"
body-async ::= "{" _ (statements-async _)? "}"

# Parameters: none that must be given behind one that need not.
parameters ::= "(" _ (parameter (_ "," _ parameter)* (_ "," _ optional)* ((_ "," _ rest)? | _ ",") _ | optional (_ "," _ optional)* ((_ "," _ rest)? | _ ",") _ | rest _)? ")"
parameter ::= (identifier | pattern) annotation? default? | "this" annotation
optional ::= identifier "?" annotation? | identifier annotation? default
rest ::= "..." (identifier | array-pattern) annotation?
annotation ::= _ ":" _ type
default ::= _ "=" _ assignment
pattern ::= object-pattern | array-pattern
object-pattern ::= "{" _ ((bound-property (_ "," _ bound-property)* ((_ ",")? | _ "," _ "..." identifier) | "..." identifier) _)? "}"
bound-property ::= identifier default? | property-name _ ":" _ (identifier | pattern) default?
array-pattern ::= "[" _ ("," _)* ((bound-element (_ "," _ bound-element)* ((_ ",")? | _ "," _ "..." identifier) | "..." identifier) _)? "]"
bound-element ::= (identifier | pattern) default?

# Classes and interfaces.
class ::= ("abstract" sp)? "class" __ identifier type-parameters? (__ "extends" __ identifier ("." property-word)* type-arguments?)? (__ "implements" __ reference (_ "," _ reference)*)? _ "{" _ (members _)? "}"
members ::= field (_ ";" (_ members)? | nl word-members)? | method (_ members)?
word-members ::= members
field ::= visibility? ("static" sp)? ("readonly" sp)? member-name ("?"? annotation | annotation? default) | visibility? member-name "!" annotation
visibility ::= ("public" | "private" | "protected") sp
method ::= visibility? ("static" sp)? (member-name signature _ body | "async" sp member-name signature _ body-async | "get" sp member-name "()" annotation? _ body | "set" sp member-name "(" identifier annotation? ")" _ body) | "constructor" constructor-parameters _ body
constructor-parameters ::= "(" _ (constructor-parameter (_ "," _ constructor-parameter)* (_ ",")? _)? ")"
constructor-parameter ::= (visibility ("readonly" sp)? | "readonly" sp)? identifier annotation? default?
interface ::= "interface" sp identifier type-parameters? (__ "extends" __ reference (_ "," _ reference)*)? _ object-type
enum ::= ("const" sp)? "enum" sp identifier _ "{" _ ((enumerator (_ "," _ enumerator)* | text-enumerator (_ "," _ text-enumerator)*) (_ ",")? _)? "}"
enumerator ::= property-word (_ "=" _ "-"? ("0" | [1-9] [0-9]*))?
text-enumerator ::= property-word _ "=" _ string
alias ::= "type" sp identifier type-parameters? _ "=" _ type

# Types.
type-parameters ::= "<" _ type-parameter (_ "," _ type-parameter)* (_ ",")? _ ">"
type-parameter ::= identifier (__ "extends" __ (union | function-type))? (_ "=" _ (union | function-type))?
type-arguments ::= "<" _ type (_ "," _ type)* _ ">"
type ::= union (sp "extends" __ pattern-type _ "?" _ type _ ":" _ type)? | function-type
union ::= ("|" _)? intersection (_ "|" _ intersection)*
intersection ::= operated-type (_ "&" _ operated-type)*
operated-type ::= "keyof" __ operated-type | "readonly" sp (tuple | simple-type "[]"+) | array-type
array-type ::= simple-type ("[" _ (type _)? "]")*
simple-type ::= reference | "void" | "null" | "true" | "false" | "this" | string | "-"? number | "`" ([^`\\$] | "$"+ ([^`\\${] | "{" _ type _ "}"))* "$"* "`" | object-type | mapped-type | tuple | "(" _ (type-parameters _ type-signature _ "=>" _)? type _ ")" | "typeof" __ identifier ("." property-word)*
reference ::= identifier ("." property-word)* type-arguments?
tuple ::= "[" _ ((named-type (_ "," _ named-type)* (_ "," _ optional-type)* | optional-type (_ "," _ optional-type)*) (_ "," _ rest-type)? (_ ",")? _ | rest-type _ | (type (_ "," _ type)* ((_ ",")? | _ "," _ "..." array-type) | "..." array-type) _)? "]"
named-type ::= identifier annotation
optional-type ::= identifier "?" annotation
rest-type ::= "..." identifier _ ":" _ array-type
function-type ::= ("abstract" sp)? "new" _ type-parameters? type-signature _ "=>" _ type | type-signature _ "=>" _ (type | predicate)
type-signature ::= "(" _ (required-name (_ "," _ required-name)* (_ "," _ optional-name)* ((_ "," _ rest)? | _ ",") _ | optional-name (_ "," _ optional-name)* ((_ "," _ rest)? | _ ",") _ | rest _)? ")"
required-name ::= (identifier | "this") annotation?
optional-name ::= identifier "?" annotation?
object-type ::= "{" _ (type-members _)? "}"
type-members ::= type-member (_ [;,] (_ type-members)? | nl word-type-members)?
word-type-members ::= word-type-member (_ [;,] (_ type-members)? | nl word-type-members)?
type-member ::= word-type-member | ("readonly" sp)? "[" identifier _ ":" _ ("string" | "number" | "symbol") "]" annotation | "new" _ type-parameters? type-signature annotation | type-parameters? type-signature returns?
word-type-member ::= ("readonly" sp)? property-name "?"? annotation | property-name "?"? type-parameters? type-signature returns?
mapped-type ::= "{" _ ([+-]? "readonly" sp)? "[" identifier __ "in" __ type (__ "as" __ type)? _ "]" ([+-]? "?")? annotation _ (";" _)? "}"
# Behind extends, where a part of the type may get a name.
pattern-type ::= inferred (_ "|" _ inferred)* | "(" ("..." identifier ": " inferred)? ")" _ "=>" _ inferred
inferred ::= "infer " identifier | "readonly "? (identifier ("." property-word)* ("<" _ inferred (_ "," _ inferred)* _ ">")? | "(infer " identifier ")") "[]" | inferred-one
inferred-one ::= identifier ("." property-word)* ("<" _ inferred (_ "," _ inferred)* _ ">")? | "void" | "null" | "true" | "false" | string | number | "[" _ (inferred (_ "," _ inferred)* (_ "," _ "..." inferred-one "[]")? _)? "]"
'''

EXPRESSIONS = r'''
# Expressions~.
variables~ ::= "const" __ constant~ (_ "," _ constant~)* | ("let" | "var") __ variable~ (_ "," _ variable~)*
constant~ ::= (identifier | pattern) annotation? _ "=" _ assignment~
variable~ ::= identifier annotation? (_ "=" _ assignment~)? | pattern annotation? _ "=" _ assignment~
assignment~ ::= arrow | postfix~ "!" cast? | (array~ | object~ | string) sp "as" sp "const" | target~ _ assignment-operator _ assignment~ | binary~ (conditional~ | cast)?
# A branch in parentheses would be read as an arrow's parameters, if an arrow came behind the colon.
conditional~ ::= _ "?" _ (branch~ _ ":" _ branch~ | plain-branch~ _ ":" _ arrow)
plain-branch~ ::= ((identifier | "this" | "null" | "true" | "false" | string | template~ | array~ | object~) suffix~* | number) operation~* ((_ ("||" | "&&") _ sum~)* | (_ "??" _ sum~)*)
branch~ ::= binary~ conditional~?
binary~ ::= sum~ ((_ ("||" | "&&") _ sum~)* | (_ "??" _ sum~)*)
sum~ ::= unary~ operation~*
operation~ ::= _ operator _ unary~ | _ [-+] (__ unary~ | safe-postfix~) | _ "/" (blank _ unary~ | safe-postfix~) | __ ("instanceof" | "in") __ unary~
unary~ ::= postfix~ (_ "**" _ unary~)? | update~ | prefixed~
prefixed~ ::= [!~] single~ | [-+] safe-postfix~ | ("typeof" | "void"AWAIT) __ single~ | "delete" __ target-member~
single~ ::= postfix~ | prefixed~
update~ ::= ("++" | "--") (identifier | target-member~) | (identifier | target-member~) ("++" | "--")
target~ ::= identifier | target-member~ | "[" _ target~ (_ "," _ target~)* _ "]"
target-member~ ::= target-base~ suffix~* access~
target-base~ ::= identifier | "this" | "(" _ assignment~ _ ")"
access~ ::= "!"? (_ "." property-word | "[" _ assignment~ _ "]")
postfix~ ::= primary~ suffix~* | number
safe-postfix~ ::= safe-primary~ suffix~* | number
suffix~ ::= access~ | _ "?." (property-word | "[" _ assignment~ _ "]" | arguments~) | type-arguments? arguments~
arguments~ ::= "(" _ (argument~ (_ "," _ argument~)* (_ ",")? _)? ")"
argument~ ::= "..."? assignment~
primary~ ::= safe-primary~ | regex | object~ | function-expression
safe-primary~ ::= identifier | "this" | "null" | "true" | "false" | "super" (arguments~ | "." property-word) | string | template~ | "(" _ assignment~ _ ")" | array~ | "new" __ identifier ("." property-word)* type-arguments? arguments~
array~ ::= "[" _ (argument~ (_ "," _ argument~)* (_ ",")? _)? "]"
object~ ::= "{" _ (property~ (_ "," _ property~)* (_ ",")? _)? "}"
property~ ::= identifier | (property-name | "[" _ assignment~ _ "]") _ ":" _ assignment~ | "..." assignment~ | property-name signature _ body | "async" sp property-name signature _ body-async | "get" sp property-name "()" annotation? _ body
template~ ::= "`" ([^`\\$] | escape | "$"+ ([^`\\${] | escape | "{" _ assignment~ _ "}"))* "$"* "`"
# What may begin a statement: no brace, no function; word-: with a word, behind a line without a semicolon.
expression-statement~ ::= "delete" __ target-member~ | "void" __ single~ | target~ _ assignment-operator _ assignment~ | update~ | start~ | "await"-START
word-expression~ ::= "delete" __ target-member~ | "void" __ single~ | word-target~ _ assignment-operator _ assignment~ | word-target~ ("++" | "--") | word-start~AWAITSTART
word-target~ ::= identifier | (identifier | "this") suffix~* access~
word-start~ ::= (identifier | "this" | "super" arguments~ | "new" __ identifier ("." property-word)* type-arguments? arguments~) suffix~* operation~* ((_ ("||" | "&&") _ sum~)* | (_ "??" _ sum~)*) conditional~?
start~ ::= [!+~-]? safe-postfix~ operation~* ((_ ("||" | "&&") _ sum~)* | (_ "??" _ sum~)*) (conditional~ | cast)?
'''

ARROWS = r'''
# Functions as values. An arrow's parameters and its body are no longer within the async function around it.
arrow ::= (identifier | type-parameters? parameters returns?) " "* "=>" _ (body | arrow-value) | "async" sp (identifier | type-parameters? parameters returns?) " "* "=>" _ (body-async | arrow-value-async)
arrow-value ::= arrow | safe-postfix "!" | target _ assignment-operator _ assignment | start | update | prefixed | regex suffix*
arrow-value-async ::= arrow | start-async | "await" __ single-async | prefixed-async
function-expression ::= "function" (__ identifier)? signature _ body | "async" sp "function" (__ identifier)? signature _ body-async
cast ::= (sp "as" __ union)+
operator ::= "*" | "%" | "<" | ">" | "<=" | ">=" | "==" | "!=" | "===" | "!==" | "&" | "|" | "^" | "<<" | ">>" | ">>>"
assignment-operator ::= "=" | "+=" | "-=" | "*=" | "/=" | "%=" | "**=" | "<<=" | ">>=" | ">>>=" | "&=" | "|=" | "^=" | "&&=" | "||=" | "??="
'''

STATEMENTS = r'''
# Statements~^: those that end by themselves, and those that end with a semicolon or a line.
statements~^ ::= block-statement~^ (_ statements~^)? | (line-statement~^ | expression-statement~) (_ ";" (_ statements~^)? | nl word-statements~^)?
word-statements~^ ::= word-block-statement~^ (_ statements~^)? | (line-statement~^ | word-expression~) (_ ";" (_ statements~^)? | nl word-statements~^)?
block~^ ::= "{" _ (statements~^ _)? "}"
block-statement~^ ::= word-block-statement~^ | block~^ | ";"
word-block-statement~^ ::= function-declaration | class | interface | compound~^
else~^ ::= "if" _ condition~ _ (closed~^ _ | short~^ nl) "else"
compound~^ ::= "if" _ condition~ _ closed~^ | else~^ (_ block~^ | __ compound~^ | __ short~^ _ ";") | loop~ _ (block~-loop | compound~-loop | short~-loop _ ";") | switch~^ | "try" _ block~^ (_ catch~^ (_ finally~^)? | _ finally~^)
closed~^ ::= block~^ | compound~^ | short~^ _ ";"
line-statement~^ ::= variables~ | alias | return~JUMP | ("if" _ condition~ _ | else~^ __) OPEN | loop~ _ short~-loop | "do" _ block~-loop _ "while" _ condition~
short~^ ::= return~ | expression-statement~JUMP
return~ ::= "return" (sp assignment~)? | "throw" sp assignment~
condition~ ::= "(" _ assignment~ _ ")"
loop~ ::= "while" _ condition~ | "for" _ "(" _ (("let" | "var" | "const") __ identifier annotation? _ "=" _ for-value~ (_ "," _ identifier annotation? _ "=" _ for-value~)* _ ";" _ (assignment~ _)? ";" _ (step~ (_ "," _ step~)* _)? | (("const" | "let" | "var") __ (identifier | pattern) | identifier) __ ("of" | "in") __ assignment~ _ | ";" _ (assignment~ _)? ";" _ (step~ _)?) ")"AWAITFOR
for-value~ ::= safe-postfix~ (_ [-+*/%] blank _ safe-postfix~)* | [-+] number
step~ ::= update~ | target~ _ assignment-operator _ assignment~
switch~^ ::= "switch" _ condition~ _ "{" _ (case~^ _)* ("default" _ ":" (_ case-statements~^)? _)? "}"
case~^ ::= "case" __ assignment~ _ ":" (_ case-statements~^)?
case-statements~^ ::= block-statement~^ (_ case-statements~^)? | (line-statement~^ | expression-statement~BREAK) (_ ";" (_ case-statements~^)? | nl case-words~^?)
case-words~^ ::= word-block-statement~^ (_ case-statements~^)? | (line-statement~^ | word-expression~BREAK) (_ ";" (_ case-statements~^)? | nl case-words~^?)
catch~^ ::= "catch" (_ "(" _ identifier (_ ":" _ ("unknown" | "any"))? _ ")")? _ block~^
finally~^ ::= "finally" _ block~^
'''

TAIL = r'''
# Literals.
string ::= "'" ([^'\\\n\r\u2028\u2029] | escape)* "'" | "\"" ([^"\\\n\r\u2028\u2029] | escape)* "\""
escape ::= "\\" ([^0-9uxa-zA-Z\n\r\u2028\u2029] | [nrtbfvdDwWsSpPcki] | "u" hex hex hex hex | "u{" hex{1,5} "}" | "x" hex hex)
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
            part = part.replace('AWAITSTART', ' | "await" __ single-async operation-async*' if inside else "")
            part = part.replace(' | "await"-START', ' | "await" __ single-async operation-async*' if inside else "")
            part = part.replace("AWAITFOR", ' | "for" __ "await" _ "(" _ ("const" | "let") __ (identifier | pattern) __ "of" __ assignment~ _ ")"' if inside else "")
            part = part.replace("AWAIT", ' | "await"' if inside else "")
            out += part.replace("~-loop", inside + "-loop").replace("~^", inside + loop).replace("[!~]", "[!\0]").replace(
                "[!+~-]", "[!+\0-]").replace("~", inside).replace("\0", "~")
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
