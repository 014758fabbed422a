// A ceiling to measure against, not a product: one epoll thread, reads of 256 KiB, one write a peer
// and batch, no limits, no checks. bench/report.sh builds it: gcc -O2 -o minichat minichat.c
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
typedef struct{char*b;size_t n,cap,off;}Buf;
typedef struct{int fd,kind,id,out,w;double last;Buf in,o;}C; // kind 0 peer 1 master 2 listen-peer 3 listen-master 4 timer
static C*cs[4096];static C*up[256];static int me,N,ep;static Buf lg;static int dirty[4096],nd;
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static void put(Buf*b,const void*p,size_t n){if(b->n+n>b->cap){if(b->off){memmove(b->b,b->b+b->off,b->n-b->off);b->n-=b->off;b->off=0;}while(b->n+n>b->cap){b->cap=b->cap?b->cap*2:65536;b->b=realloc(b->b,b->cap);}}memcpy(b->b+b->n,p,n);b->n+=n;}
static void add(int fd,int kind){int one=1;C*c=calloc(1,sizeof*c);c->fd=fd;c->kind=kind;c->id=-1;c->last=now();cs[fd]=c;fcntl(fd,F_SETFL,O_NONBLOCK);if(kind<2)setsockopt(fd,IPPROTO_TCP,TCP_NODELAY,&one,sizeof one);struct epoll_event e={.events=EPOLLIN,.data.fd=fd};epoll_ctl(ep,EPOLL_CTL_ADD,fd,&e);}
static void drop(C*c){if(c->id>=0&&up[c->id]==c)up[c->id]=0;close(c->fd);cs[c->fd]=0;free(c->in.b);free(c->o.b);free(c);}
static void mark(C*c){if(!c->out){c->out=1;dirty[nd++]=c->fd;}}
static void flush(C*c){c->out=0;while(c->o.off<c->o.n){ssize_t k=send(c->fd,c->o.b+c->o.off,c->o.n-c->o.off,MSG_NOSIGNAL);if(k<0){if(errno==EAGAIN){struct epoll_event e={.events=EPOLLIN|EPOLLOUT,.data.fd=c->fd};epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&e);c->w=1;}return;}c->o.off+=k;}
 struct epoll_event e={.events=EPOLLIN,.data.fd=c->fd};if(c->w){c->w=0;epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&e);}c->o.n=c->o.off=0;}
static void tolog(const char*m,size_t n){if(lg.n)put(&lg,",",1);put(&lg,m,n);}
static void line(C*c,char*s,size_t n){char t[64];
 if(c->kind==0){if(n>5&&!memcmp(s,"ping ",5)){int i=atoi(s+5);if(c->id<0&&i>=0&&i<N){c->id=i;up[i]=c;}}else if(n>4&&!memcmp(s,"msg ",4)){char*q=memchr(s+4,' ',n-4);if(q)tolog(q+1,s+n-q-1);}}
 else{if(n>10&&!memcmp(s,"broadcast ",10)){tolog(s+10,n-10);int h=sprintf(t,"msg %d ",me);for(int i=0;i<N;i++)if(up[i]){put(&up[i]->o,t,h);put(&up[i]->o,s+10,n-10);put(&up[i]->o,"\n",1);mark(up[i]);}}
  else if(n==3&&!memcmp(s,"get",3)){put(&c->o,"messages ",9);put(&c->o,lg.b,lg.n);put(&c->o,"\n",1);mark(c);}
  else if(n==5&&!memcmp(s,"alive",5)){put(&c->o,"alive ",6);int f=0;for(int i=0;i<N;i++)if(i==me||up[i]){int h=sprintf(t,f++?",%d":"%d",i);put(&c->o,t,h);}put(&c->o,"\n",1);mark(c);}}}
static int lis(int p){int s=socket(AF_INET,SOCK_STREAM,0),one=1;setsockopt(s,SOL_SOCKET,SO_REUSEADDR,&one,sizeof one);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(p),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)};if(bind(s,(void*)&a,sizeof a)||listen(s,128)){perror("bind");exit(1);}return s;}
static int dial(){int miss=0;for(int i=0;i<me;i++)if(!up[i]){int s=socket(AF_INET,SOCK_STREAM,0);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(3000+i),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)};if(connect(s,(void*)&a,sizeof a)){close(s);miss=1;continue;}add(s,0);cs[s]->id=i;up[i]=cs[s];char t[32];put(&cs[s]->o,t,sprintf(t,"ping %d\n",me));mark(cs[s]);}return miss;}
int main(int c,char**v){me=atoi(v[1]);N=atoi(v[2]);signal(SIGPIPE,SIG_IGN);ep=epoll_create1(0);add(lis(3000+me),2);add(lis(atoi(v[3])),3);
 int t=timerfd_create(CLOCK_MONOTONIC,0);struct itimerspec it={{0,500000000},{0,500000000}};timerfd_settime(t,0,&it,0);add(t,4);int miss=dial();double td=now();struct epoll_event ev[256];static char b[1<<18];
 for(;;){for(int i=0;i<nd;i++)if(cs[dirty[i]])flush(cs[dirty[i]]);nd=0;
  int m=epoll_wait(ep,ev,256,miss?10:-1);if(miss&&now()-td>0.01){miss=dial();td=now();}
  for(int q=0;q<m;q++){C*x=cs[ev[q].data.fd];if(!x)continue;
   if(x->kind==4){read(x->fd,b,8);double n=now();for(int i=0;i<N;i++)if(up[i]){if(n-up[i]->last>0.9){drop(up[i]);continue;}char s[32];put(&up[i]->o,s,sprintf(s,"ping %d\n",me));mark(up[i]);}miss=1;continue;}
   if(x->kind>=2){int k;while((k=accept(x->fd,0,0))>=0){add(k,x->kind-2);if(x->kind==2){char s[32];put(&cs[k]->o,s,sprintf(s,"ping %d\n",me));mark(cs[k]);}}continue;}
   if(ev[q].events&EPOLLOUT)flush(x);
   if(ev[q].events&(EPOLLIN|EPOLLHUP)){ssize_t k=recv(x->fd,b,sizeof b,0);if(k<=0){if(k<0&&errno==EAGAIN)continue;drop(x);miss=1;continue;}x->last=now();
    char*s=b,*e=b+k,*nl;if(x->in.n){nl=memchr(b,'\n',k);if(!nl){put(&x->in,b,k);continue;}put(&x->in,b,nl-b);line(x,x->in.b,x->in.n);x->in.n=0;s=nl+1;}
    while((nl=memchr(s,'\n',e-s))){line(x,s,nl-s);s=nl+1;}if(s<e)put(&x->in,s,e-s);}}}}
